"""All tables in one import, for migrations and tests."""

from __future__ import annotations

from models.tables.base import Base
from models.tables.batches import Batch, BatchRow, Item, RememberedLayout, Upload
from models.tables.card import Card
from models.tables.certificates import Certificate
from models.tables.customs_link import CustomsLink
from models.tables.deployment import Deployment
from models.tables.discrepancies import Discrepancy
from models.tables.forms import Block, Form, FormEvent, Stock, UsedForm
from models.tables.inbox import InboxMessage, ReceiptLine
from models.tables.notifications import Delivery, Endpoint, Notification
from models.tables.pauses import Pause
from models.tables.pulses import Pulse
from models.tables.reconciliation import Difference, PastUse, Repair, Run
from models.tables.submissions import Attempt, Submission
from models.tables.tallies import Tally, TallyChange

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
