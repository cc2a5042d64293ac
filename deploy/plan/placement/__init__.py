"""Placement: which replica of which model lies on which GPUs of which host."""

from deploy.plan.placement.claim import Claim, context_limit, counted_context
from deploy.plan.placement.layout import Layout, Seat
from deploy.plan.placement.place import Placement, place
from deploy.plan.placement.pool import Gpus, device_of
from deploy.plan.placement.sizer import Sizer

__all__ = [
    "Claim",
    "Gpus",
    "Layout",
    "Placement",
    "Seat",
    "Sizer",
    "context_limit",
    "counted_context",
    "device_of",
    "place",
]
