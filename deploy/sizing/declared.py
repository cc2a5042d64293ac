"""From what an operator names to a sizing request: catalogue entries or a config.json."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from deploy.catalog import Catalog, parse_gpus
from deploy.catalog.architecture import Architecture, read_architecture
from deploy.catalog.gguf_header import config_of
from deploy.catalog.quantization import BY_NAME
from deploy.errors import AtelierError, ModelConfigError, PlanError, Problem
from deploy.sizing.device import Device, device_of
from deploy.sizing.gguf import DEFAULT_QUANTIZATION
from deploy.sizing.speculation import Speculation
from deploy.spec.engine_kinds import ENGINES, EngineKind
from deploy.units import GIB

MAXIMUM_CONFIG_BYTES = 10 * 2**20


@dataclass(frozen=True)
class DeclaredModel:
    """A model to size."""

    name: str
    architecture: Architecture
    weights_gib: float | None = None
    """Size of the chosen weights, where it is known."""


def model_of_file(name: str, parts: Iterable[Path]) -> DeclaredModel | None:
    """The model that GGUF files hold; ``None`` where they do not say enough of it.

    Args:
        name: what it is called.
        parts: its file, or all of its files.
    """
    config = config_of(parts)
    if config is None:
        return None
    try:
        return DeclaredModel(name, read_architecture(config))
    except AtelierError:
        return None


def find_devices(text: str, catalog: Catalog) -> tuple[Device, ...]:
    """The devices that ``2x l40s`` names.

    Raises:
        SpecError: if it names none.
    """
    return tuple(device_of(name, catalog.gpus[name]) for name in parse_gpus(text, catalog))


def find_model(
    text: str, catalog: Catalog, quantization: str | None = None, engine: EngineKind = "vllm"
) -> DeclaredModel:
    """A model of the catalogue, or the one a config.json describes.

    Raises:
        PlanError: if there is neither.
        ModelConfigError: if the file cannot be read.
        UnsupportedModelError: if its memory cannot be worked out honestly.
    """
    if text.lower() in catalog.models:
        return _from_catalogue(text.lower(), catalog, quantization, engine)
    path = Path(text)
    if path.is_file() or path.is_dir() or "/" in text or text.endswith(".json"):
        path = path / "config.json" if path.is_dir() else path
        return DeclaredModel(text, read_architecture(read_config(path)))
    close = difflib.get_close_matches(text.lower(), catalog.models, n=1)
    fix = f"did you mean {close[0]!r}?" if close else "'atelier models' lists them"
    raise PlanError(Problem("model", repr(text), "a model of the catalogue or a config.json", fix))


@cache
def _from_catalogue(
    name: str, catalog: Catalog, quantization: str | None, engine: EngineKind
) -> DeclaredModel:
    entry = catalog.models[name]
    architecture = read_architecture(entry.config)
    gguf = ENGINES[engine].weights == "gguf"
    method = quantization or (DEFAULT_QUANTIZATION if gguf else architecture.quantization.method)
    if gguf:
        variant = entry.variant(method, "gguf")
        size = variant.size_bytes if variant else None
        return DeclaredModel(name, architecture, size / GIB if size else None)
    variant = entry.variant(method, "safetensors")
    if variant is None or method in {"none", architecture.quantization.method}:
        return DeclaredModel(name, architecture)
    scheme = BY_NAME.get(method, architecture.quantization)
    scheme = replace(scheme, group_size=variant.group_size or scheme.group_size)
    if variant.block_size:
        scheme = replace(scheme, group_size=variant.block_size, block_rows=variant.block_size)
    size = variant.size_bytes
    return DeclaredModel(
        name, replace(architecture, quantization=scheme), size / GIB if size else None
    )


def find_speculation(
    method: str, tokens: int, draft: str | None, acceptance: float | None, catalog: Catalog
) -> Speculation:
    """How tokens are drafted; ``draft`` is a model of the catalogue or a config.json.

    Raises:
        AtelierError: if the draft cannot be found or read.
    """
    found = find_model(draft, catalog).architecture if draft else None
    return Speculation(method, tokens, found, acceptance)


def read_config(path: Path) -> dict[str, Any]:
    """The contents of a config.json.

    Raises:
        ModelConfigError: if it cannot be read, or is none.
    """
    try:
        if path.stat().st_size > MAXIMUM_CONFIG_BYTES:
            raise ModelConfigError(Problem(str(path), "more than 10 MiB", "a config.json"))
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelConfigError(
            Problem(str(path), error.strerror or "cannot be read", "a readable config.json")
        ) from None
    except (ValueError, RecursionError) as error:
        raise ModelConfigError(Problem(str(path), f"not JSON: {error}", "a JSON object")) from None
    if not isinstance(data, dict):
        raise ModelConfigError(Problem(str(path), type(data).__name__, "a JSON object"))
    return data
