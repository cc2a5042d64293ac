"""Sizing: what one model needs on given GPUs, and what it gives."""

from deploy.plan.sizing.declared import DeclaredModel, find_devices, find_model
from deploy.plan.sizing.device import Device, device_of
from deploy.plan.sizing.gguf import size_gguf
from deploy.plan.sizing.request import Rejected, Sizing, SizingRequest
from deploy.plan.sizing.size_model import size_model
from deploy.plan.sizing.to_json import sizing_to_json

__all__ = [
    "DeclaredModel",
    "Device",
    "Rejected",
    "Sizing",
    "SizingRequest",
    "device_of",
    "find_devices",
    "find_model",
    "size_gguf",
    "size_model",
    "sizing_to_json",
]
