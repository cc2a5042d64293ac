"""Whether a model of the catalogue fits on GPUs, and with which weights."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.catalog import Catalog, Model
from deploy.errors import UnsupportedModelError
from deploy.sizing import (
    Device,
    Sizing,
    SizingRequest,
    find_devices,
    find_model,
    size_gguf,
    size_model,
)
from deploy.sizing.gguf_memory import BITS_PER_WEIGHT
from deploy.spec.engine_kinds import EngineKind

FIT_COLUMNS = ["Model", "engine, weights", "GPUs", "context", "users", "tok/s"]
FIT_LEGEND = (
    "The least quantised weights that fit. GPUs: replicas x tensor_parallel_size x\n"
    "pipeline_parallel_size. context: longest request. users: at once,\n"
    "with 8192 tokens each (or the model's own limit). tok/s: each; an estimate."
)


@dataclass(frozen=True)
class Fit:
    """The weights of a model that fit, and what they give."""

    engine: str
    quantization: str
    tensor_parallel_size: int
    pipeline_parallel_size: int
    replicas: int
    max_model_len: int
    concurrent_users: int
    tokens_per_second_per_user: float | None
    """``None`` of a model that writes nothing."""


def best_fit(name: str, model: Model, gpus: str, catalog: Catalog) -> Fit | None:
    """The first variant that fits: vLLM's before GGUF, the least quantised first."""
    devices = find_devices(gpus, catalog)
    variants = sorted(model.variants, key=lambda variant: variant.format == "gguf")
    for variant in variants:
        engine: EngineKind = "ollama" if variant.format == "gguf" else "vllm"
        if engine == "ollama" and variant.quantization not in BITS_PER_WEIGHT:
            continue
        try:
            sizing = _size(name, variant.quantization, engine, devices, catalog)
        except UnsupportedModelError:
            return None
        if sizing.supported and sizing.fits:
            return Fit(
                engine,
                variant.quantization,
                sizing.tensor_parallel_size,
                sizing.pipeline_parallel_size,
                sizing.replicas,
                sizing.max_model_len,
                sizing.concurrent_users,
                round(sizing.tokens_per_second_per_user, 1) if sizing.writes else None,
            )
    return None


def fit_row(name: str, fit: Fit | None) -> list[str]:
    """A model that fits, as a row of the table."""
    assert fit is not None  # noqa: S101 - the others are not shown
    return [
        name,
        f"{fit.engine}, {fit.quantization}",
        f"{fit.replicas}x{fit.tensor_parallel_size}x{fit.pipeline_parallel_size}",
        f"{fit.max_model_len}",
        str(fit.concurrent_users),
        "-" if fit.tokens_per_second_per_user is None else f"{fit.tokens_per_second_per_user:.0f}",
    ]


def _size(
    name: str, quantization: str, engine: EngineKind, devices: tuple[Device, ...], catalog: Catalog
) -> Sizing:
    found = find_model(name, catalog, quantization, engine)
    request = SizingRequest(
        model=found.architecture,
        devices=devices,
        engine=engine,
        name=name,
        quantization=quantization,
        weights_gib=found.weights_gib,
    )
    return size_model(request) if engine == "vllm" else size_gguf(request)
