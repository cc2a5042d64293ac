"""Models that may be served, each with the ways its weights can be kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from deploy.catalog import Catalog, Use
from deploy.errors import UnsupportedModelError
from deploy.licence import refusal, use_name
from deploy.recommend.request import RecommendRequest
from deploy.recommend.strength import strength
from deploy.sizing import DeclaredModel, find_model
from deploy.sizing.gguf_memory import BITS_PER_WEIGHT
from deploy.spec.engine_kinds import EngineKind

VLLM_METHODS = ("none", "fp8", "awq", "gptq", "mxfp4", "nvfp4")
"""Of equal methods one is enough: GPTQ takes what AWQ takes, so it is left out."""
SMALLEST_BILLION = 0.4
"""Smaller models are for tests."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A model, kept in one way, for one engine."""

    model: str
    """Its id in the catalogue."""
    quantization: str
    engine: EngineKind
    """``vllm`` or ``ollama``."""
    strength: float
    """In points."""
    parameters_billion: float
    """All of them, in 10^9."""
    declared: DeclaredModel
    """Its architecture and the size of its weights."""
    converted: bool = False
    """Whether the engine makes this precision itself when it starts."""

    @property
    def weights(self) -> str:
        """How the weights are kept, in a word."""
        return "16-bit" if self.quantization in {"none", "f16"} else self.quantization

    @property
    def text(self) -> str:
        """The model and how its weights are kept."""
        return f"{self.model} {self.weights}"


@dataclass(frozen=True)
class Excluded:
    """A model that is not considered."""

    model: str
    reason: str


def find_candidates(
    request: RecommendRequest, catalog: Catalog
) -> tuple[list[Candidate], list[Excluded]]:
    """The models that may be served for that use and role, the strongest first; and the others."""
    found: list[Candidate] = []
    excluded: list[Excluded] = []
    for name, entry in catalog.models.items():
        if request.role not in entry.roles or entry.parameters_billion < SMALLEST_BILLION:
            continue
        reason = _reason_against(name, request.use, request.users, catalog)
        if reason:
            excluded.append(Excluded(name, reason))
        else:
            found += _of_model(name, request.role, catalog)
    return sorted(found, key=lambda c: (-c.strength, c.model, c.quantization)), excluded


def _reason_against(name: str, use: Use, users: int, catalog: Catalog) -> str:
    clause = refusal(catalog.models[name], use, users, catalog)
    if clause:
        return f"not for {use_name(use)}: {clause}"
    try:
        find_model(name, catalog)
    except UnsupportedModelError as error:
        return f"its memory cannot be worked out honestly: {error.problems[0].found}"
    return ""


@cache
def _of_model(name: str, role: str, catalog: Catalog) -> tuple[Candidate, ...]:
    return (*_for_vllm(name, role, catalog), *_for_ollama(name, role, catalog))


def _for_vllm(name: str, role: str, catalog: Catalog) -> Iterator[Candidate]:
    entry = catalog.models[name]
    published = [v.quantization for v in entry.variants if v.format == "safetensors"]
    for method in VLLM_METHODS:
        converted = method == "fp8" and published[:1] == ["none"] and method not in published
        if method == "gptq" and "awq" in published:
            continue
        if method in published or converted:
            declared = find_model(name, catalog, method)
            rank, size = strength(entry, method, role), entry.parameters_billion
            yield Candidate(name, method, "vllm", rank, size, declared, converted)


def _for_ollama(name: str, role: str, catalog: Catalog) -> Iterator[Candidate]:
    entry = catalog.models[name]
    for variant in entry.variants:
        method = variant.quantization
        if variant.format == "gguf" and variant.ollama and method in BITS_PER_WEIGHT:
            declared = find_model(name, catalog, method, "ollama")
            rank, size = strength(entry, method, role), entry.parameters_billion
            yield Candidate(name, method, "ollama", rank, size, declared)
