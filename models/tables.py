"""All tables in one import, for migrations and tests."""

from __future__ import annotations

from models.base import Base
from models.batches import Batch, BatchRow, Item, RememberedLayout, Upload
from models.deployment import Deployment
from models.notifications import Delivery, Endpoint, Notification
from models.pauses import Pause
from models.pulses import Pulse
from models.reconciliation import Difference, PastUse, Repair, Run
from models.stock import Block, Certificate, Discrepancy, Form, FormEvent, Stock, UsedForm
from models.submissions import Attempt, Card, CustomsLink, InboxMessage, ReceiptLine, Submission
from models.tallies import Tally, TallyChange

metadata = Base.metadata

__all__ = [
    "Attempt",
    "Batch",
    "BatchRow",
    "Block",
    "Card",
    "Certificate",
    "CustomsLink",
    "Delivery",
    "Deployment",
    "Difference",
    "Discrepancy",
    "Endpoint",
    "Form",
    "FormEvent",
    "InboxMessage",
    "Item",
    "Notification",
    "PastUse",
    "Pause",
    "Pulse",
    "ReceiptLine",
    "RememberedLayout",
    "Repair",
    "Run",
    "Stock",
    "Submission",
    "Tally",
    "TallyChange",
    "Upload",
    "UsedForm",
    "metadata",
]
