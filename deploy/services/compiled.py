"""Volumes with what engines compiled, kept from one container to the next."""

from __future__ import annotations

COMPILERS = ("sglang", "vllm")
"""Engines that compile when they start."""


def caches_of(deployment: str, engine: str) -> str:
    """What the names of an engine's volumes begin with; that of the model follows."""
    return f"{deployment}-{engine}-"


def is_cache(volume: str, deployment: str) -> bool:
    """Whether a volume of a deployment holds nothing but what an engine compiled."""
    return volume.startswith(tuple(caches_of(deployment, engine) for engine in COMPILERS))
