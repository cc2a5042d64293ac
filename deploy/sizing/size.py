"""One call for everything: names instead of objects."""

from __future__ import annotations

from typing import Any

from deploy.catalog import Catalog, load_catalog
from deploy.sizing.declared import find_devices, find_model
from deploy.sizing.engines import DEFAULT_VERSIONS, size_request
from deploy.sizing.request import Sizing, SizingRequest
from deploy.spec.engine_kinds import EngineKind

SAME_SIZE = {"fp8_e4m3": "fp8", "fp8_e5m2": "fp8"}
"""Other names for caches of one byte."""


def size(
    model: str,
    gpus: str,
    *,
    quantization: str | None = None,
    engine: EngineKind = "vllm",
    catalog: Catalog | None = None,
    **more: Any,
) -> Sizing:
    """Size a model of the catalogue, or a config.json by its path, on GPUs like ``2x l40s``.

    ``engine`` is ``vllm``, ``sglang`` or ``ollama`` (llama.cpp); ``more`` are fields of
    ``SizingRequest``, for example ``users=20, context_tokens=65536, max_model_len=131072``.

    Raises:
        UnsupportedModelError: if the model's memory cannot be worked out honestly.
        PlanError: if the request contradicts itself.
        CatalogError: if a model or GPU is not known.
    """
    catalog = catalog or load_catalog()
    found = find_model(model, catalog, quantization, engine)
    known = {"weights_gib": found.weights_gib, **more}
    if engine in DEFAULT_VERSIONS:
        known.setdefault("engine_version", DEFAULT_VERSIONS[engine])
    if "kv_cache_dtype" in known:
        known["kv_cache_dtype"] = SAME_SIZE.get(known["kv_cache_dtype"], known["kv_cache_dtype"])
    request = SizingRequest(
        model=found.architecture,
        devices=find_devices(gpus, catalog),
        engine=engine,
        name=found.name,
        quantization=quantization,
        **known,
    )
    return size_request(request)
