"""Which weights of a model an engine could load, where it is compared with the other engines."""

from __future__ import annotations

from collections.abc import Mapping

from deploy.catalog import Model, Variant
from deploy.catalog.quantization import BY_NAME
from deploy.errors import PlanError
from deploy.plan.weights import safetensors_weights
from deploy.sizing.declared import DeclaredModel
from deploy.sizing.gguf import DEFAULT_QUANTIZATION
from deploy.sizing.gguf_memory import BITS_PER_WEIGHT
from deploy.sizing.reasons import Reason, ReasonKind, reason
from deploy.spec import ModelSpec
from deploy.spec.engine_kinds import ENGINES, EngineKind, WeightFormat, serves_any

BITS: Mapping[WeightFormat, Mapping[str, float]] = {
    "gguf": BITS_PER_WEIGHT,
    "safetensors": {name: scheme.bits for name, scheme in BY_NAME.items()},
}
"""Bits of a weight, of every quantisation that a format has."""


def no_such_weights(kind: EngineKind, entry: Model | None) -> Reason | None:
    """Why an engine could load none of a model of the catalogue; ``None`` if it could."""
    traits = ENGINES[kind]
    if entry is None:
        return None
    if not serves_any(kind, entry.roles):
        roles = " and ".join(entry.roles)
        return reason(ReasonKind.OTHER_ROLE, engine=traits.title, roles=roles)
    if all(variant.format != traits.weights for variant in entry.variants):
        return reason(ReasonKind.NO_WEIGHTS, engine=traits.title, format=traits.weights)
    return None


def weights_to_try(
    kind: EngineKind, wanted: tuple[str, ...], entry: Model | None, found: DeclaredModel
) -> tuple[dict[str, str | None], tuple[Reason, ...]]:
    """Where the weights to try are, and why the plan would refuse others.

    Args:
        kind: the engine.
        wanted: the engine takes the first of these that its format has; its own choice of none.
        entry: the model's row of the catalogue.
        found: what sizing knows of it.
    """
    sources: dict[str, str | None] = {}
    declined = []
    for method in _methods(kind, wanted, entry, found):
        try:
            sources[method] = _source(kind, entry, found.name, method)
        except PlanError as error:
            declined.append(reason(ReasonKind.DECLINED, why=error.in_one_line))
    return sources, tuple(declined)


def _methods(
    kind: EngineKind, wanted: tuple[str, ...], entry: Model | None, found: DeclaredModel
) -> tuple[str, ...]:
    """The weights to try: what the plan would load first, then what takes less memory."""
    traits = ENGINES[kind]
    bits = BITS[traits.weights]
    asked = [name for name in wanted if name in bits]
    if asked:
        return (asked[0],)
    own = found.architecture.quantization.method
    first = DEFAULT_QUANTIZATION if traits.weights == "gguf" else own
    variants: list[str] = [
        variant.quantization
        for variant in (entry.variants if entry else ())
        if variant.format == traits.weights and variant.quantization in bits
    ]
    known = list(dict.fromkeys(variants)) or [first]
    if "none" in known:
        known += [method for method in traits.in_flight if method not in known]
    ordered = sorted(known, key=lambda method: -bits.get(method, 16.0))
    return tuple(dict.fromkeys([first, *ordered] if first in known else ordered))


def _source(kind: EngineKind, entry: Model | None, name: str, method: str) -> str | None:
    """Where the catalogue has weights; ``None`` for those that an operator would declare.

    Raises:
        PlanError: if it has them, and the plan refuses them.
    """
    traits, variants = ENGINES[kind], entry.variants if entry else ()
    known: dict[str, Variant] = {
        each.quantization: each for each in variants if each.format == traits.weights
    }
    if entry is None or not (method in known or method in traits.in_flight):
        return None
    if traits.weights == "safetensors":
        model = ModelSpec(name=name)
        return safetensors_weights("model", model, entry, method, traits).repository
    own = known[method].ollama if kind == "ollama" else known[method].huggingface
    return own or entry.file
