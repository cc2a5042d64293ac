"""Sizing: what one model needs on given GPUs, and what it gives."""

from deploy.plan.sizing.device import Device, device_of
from deploy.plan.sizing.request import Rejected, Sizing, SizingRequest
from deploy.plan.sizing.size_model import size_model

__all__ = ["Device", "Rejected", "Sizing", "SizingRequest", "device_of", "size_model"]
