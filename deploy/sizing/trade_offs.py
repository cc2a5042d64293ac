"""What an operator gives up with an engine, worked out from what each of them is."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.spec.engine_kinds import ENGINES, PARSERS, EngineKind, kinds_with
from deploy.spec.engine_settings import OWN_SETTINGS

ABILITIES = {
    "enable_expert_parallel": "whole experts on a GPU",
    "hang_seconds": "a watch that restarts one that hangs",
    "lora_adapters": "LoRA adapters",
    "nnodes": "one replica on several hosts",
    "scheduling_policy": "priorities of requests",
    "speculative": "drafts of tokens",
}
"""Settings that only some engines have and that matter to users, and what each brings."""
OTHER_FORMAT = {"gguf": "safetensors", "safetensors": "GGUF files"}
OF_EXPERTS = {"enable_expert_parallel"}
"""What matters of mixtures of experts alone."""


def owners(setting: str) -> tuple[EngineKind, ...]:
    """The engines that have a setting, of engines or of models."""
    return OWN_SETTINGS.get(setting) or kinds_with(setting)


def trade_offs(kind: EngineKind, *, has_experts: bool) -> tuple[str, ...]:
    """Sentences about what the engine has not, and others have.

    Args:
        kind: the engine.
        has_experts: whether the model is a mixture of experts.
    """
    return tuple(_trade_offs(kind, has_experts=has_experts))


def _trade_offs(kind: EngineKind, *, has_experts: bool) -> Iterator[str]:
    traits = ENGINES[kind]
    said = {
        traits.caveat: bool(traits.caveat),
        "it keeps a slot for each request, and each layer on one GPU: more GPUs hold more, and are"
        " no faster": not traits.shares_cache,
        f"Atelier serves no {OTHER_FORMAT[traits.weights]} with it": True,
        "it does not share the layers out over groups of GPUs": not traits.has_pipelines,
        "it shares no GPU with other engines": not traits.shares_cards,
        "Atelier does not fetch its file: declare path": not traits.fetches,
        "Atelier runs it on GPUs only": not traits.on_cpus,
    }
    yield from (sentence for sentence, is_so in said.items() if is_so)
    abilities = {n: what for n, what in ABILITIES.items() if has_experts or n not in OF_EXPERTS}
    missing = [f"{what} ({name})" for name, what in abilities.items() if kind not in owners(name)]
    if missing:
        yield f"not available with it: {', '.join(missing)}"
    parsers = sorted(PARSERS - traits.model_settings)
    if traits.weights == "safetensors" and parsers:
        yield f"there is no {' and no '.join(parsers)} for it"
