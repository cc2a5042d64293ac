"""Sizing: what one model needs on given GPUs, and what it gives."""

from deploy.sizing.declared import DeclaredModel, find_devices, find_model
from deploy.sizing.device import Device, device_of
from deploy.sizing.fit import Fit
from deploy.sizing.gguf import size_gguf
from deploy.sizing.request import Rejected, Sizing, SizingRequest
from deploy.sizing.size_model import size_model
from deploy.sizing.to_json import sizing_to_json

__all__ = [
    "DeclaredModel",
    "Device",
    "Fit",
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
