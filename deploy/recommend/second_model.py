"""A small model that completes code, on the GPUs of the one that is recommended."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from deploy.catalog import Catalog
from deploy.recommend.work import WORKS
from deploy.sizing import Device, SizingRequest, find_model, size_gguf, size_model
from deploy.spec.engine_kinds import EngineKind

SMALL, LARGE = "qwen2.5-coder-1.5b-base", "qwen2.5-coder-7b-base"
LARGE_FROM_USERS = 50
"""From so many users on the larger one pays: it takes a smaller part of larger cards."""


def completion_model(users: int) -> str:
    """The model that completes for so many users."""
    return LARGE if users > LARGE_FROM_USERS else SMALL


@cache
def memory_gib(users: int, device: Device, engine: EngineKind, catalog: Catalog) -> float:
    """What it takes of the GPU that it stands on: weights, overhead and everybody's cache."""
    name, tokens = completion_model(users), WORKS["completion"].context_tokens
    quantization = "q4_k_m" if engine == "ollama" else "none"
    found = find_model(name, catalog, quantization, engine)
    request = SizingRequest(
        model=found.architecture,
        devices=(device,),
        engine=engine,
        name=name,
        quantization=quantization,
        users=users,
        context_tokens=tokens,
        max_model_len=tokens * 2,
        weights_gib=found.weights_gib,
        flash_attention=True,
    )
    sizing = size_gguf(request) if engine == "ollama" else size_model(request)
    cache_gib = users * tokens * sizing.kv_cache_bytes_per_token_per_gpu / 2**30
    return sizing.weights_gib_per_gpu + sizing.overhead_gib_per_gpu + cache_gib


def leave_room(
    devices: tuple[Device, ...], users: int, engine: EngineKind, catalog: Catalog
) -> tuple[Device, ...]:
    """The GPUs without what it takes: of each as much, since engines share memory evenly."""
    return tuple(
        replace(
            device,
            usable_gib=max(device.usable_gib - memory_gib(users, device, engine, catalog), 0.0),
        )
        for device in devices
    )
