"""All tables in one import, for migrations and tests."""

from __future__ import annotations

from models.tables.base import Base
from models.tables.batches import Batch, BatchRow, Item, RememberedLayout, Upload
from models.tables.card import Card
from models.tables.certificates import Certificate
from models.tables.customs_link import CustomsLink
from models.tables.deployment import Deployment
from models.tables.discrepancies import Discrepancy
from models.tables.endorsements import Endorsement, RulesVersion
from models.tables.forms import Block, Form, FormEvent, Stock, UsedForm
from models.tables.inbox import InboxMessage, ReceiptLine
from models.tables.notifications import Delivery, Endpoint, Notification
from models.tables.pauses import Pause
from models.tables.people import Act, ApiKey, CallOnce, Person
from models.tables.pulses import Pulse
from models.tables.reconciliation import Difference, PastUse, Repair, Run
from models.tables.sign_ins import SignIn, WrongTry
from models.tables.submissions import Attempt, Submission
from models.tables.tallies import Tally, TallyChange

metadata = Base.metadata

__all__ = [
    "Act",
    "ApiKey",
    "Attempt",
    "Batch",
    "BatchRow",
    "Block",
    "CallOnce",
    "Card",
    "Certificate",
    "CustomsLink",
    "Delivery",
    "Deployment",
    "Difference",
    "Discrepancy",
    "Endorsement",
    "Endpoint",
    "Form",
    "FormEvent",
    "InboxMessage",
    "Item",
    "Notification",
    "PastUse",
    "Pause",
    "Person",
    "Pulse",
    "ReceiptLine",
    "RememberedLayout",
    "Repair",
    "RulesVersion",
    "Run",
    "SignIn",
    "Stock",
    "Submission",
    "Tally",
    "TallyChange",
    "Upload",
    "UsedForm",
    "WrongTry",
    "metadata",
]
