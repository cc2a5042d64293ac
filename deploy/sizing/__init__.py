"""Sizing: what one model needs on given GPUs, and what it gives.

    from deploy.sizing import size

    size("qwen3.6-35b-a3b", "2x rtx-5090", quantization="fp8", users=20).fits

Memory is in GiB (2^30 bytes) of each GPU, lengths in tokens, speeds in tokens a second, parameters
in 10^9. Where each formula comes from stands in the module that has it, and in docs/sizing.md.
"""

from deploy.sizing.declared import DeclaredModel, find_devices, find_model, find_speculation
from deploy.sizing.device import Device, device_of
from deploy.sizing.fit import Fit
from deploy.sizing.gguf import size_gguf
from deploy.sizing.request import Rejected, Sizing, SizingRequest
from deploy.sizing.size import size
from deploy.sizing.size_model import size_model
from deploy.sizing.speculation import Speculation
from deploy.sizing.to_json import sizing_to_json

__all__ = [
    "DeclaredModel",
    "Device",
    "Fit",
    "Rejected",
    "Sizing",
    "SizingRequest",
    "Speculation",
    "device_of",
    "find_devices",
    "find_model",
    "find_speculation",
    "size",
    "size_gguf",
    "size_model",
    "sizing_to_json",
]
