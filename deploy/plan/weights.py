"""Where an engine finds the weights of a model."""

from __future__ import annotations

from deploy.catalog import Model, Variant
from deploy.errors import PlanError, Problem
from deploy.plan.replica_plan import ReplicaPlan, WeightsPlan
from deploy.sizing.gguf import DEFAULT_QUANTIZATION
from deploy.spec import ModelSpec
from deploy.spec.engine_kinds import EngineTraits


def safetensors_weights(
    path: str, model: ModelSpec, entry: Model | None, method: str | None, engine: EngineTraits
) -> WeightsPlan:
    """A repository or a directory of the host.

    Raises:
        PlanError: if there are no weights of that kind.
    """
    if model.weights:
        declared = declared_weights(model.weights)
        _check_owner(f"{path}.weights", declared.repository, method, entry, engine)
        return declared
    if entry is None:
        allowed = "a repository such as 'org/name', or a directory of the host"
        raise PlanError(Problem(f"{path}.weights", "not set", allowed, "declare weights"))
    variant = _safetensors(path, model, entry, method, engine)
    if variant.huggingface is None:
        found = (
            f"no {method} weights of {model.name} are known"
            if method
            else f"{model.name} has no weights that are known"
        )
        raise PlanError(Problem(f"{path}.weights", found, fix="declare weights"))
    kept = variant.quantization
    _check_owner(f"{path}.quantization", variant.huggingface, kept, entry, engine)
    return WeightsPlan(repository=variant.huggingface, revision=variant.revision)


def _check_owner(
    path: str,
    repository: str | None,
    method: str | None,
    entry: Model | None,
    engine: EngineTraits,
) -> None:
    """Refuse quantised weights that an engine may not load; a directory is for the operator.

    Raises:
        PlanError: if others than those whose way of quantising it knows made them.
    """
    owner = engine.quantised_by
    is_plain = method in {None, "none"}
    if not owner or is_plain or not repository or repository.startswith(f"{owner}/"):
        return
    if entry is not None and _is_published_so(entry, repository, method):
        return
    found = f"{repository}: {engine.title} is not deployed with {method} weights of this kind"
    fix = f"declare weights='{owner}/...', or a directory of the host with such weights"
    allowed = f"a repository of {owner}, FP8 in blocks or MXFP4 of the model's makers, or 'none'"
    raise PlanError(Problem(path, found, allowed, fix))


def _is_published_so(entry: Model, repository: str, method: str | None) -> bool:
    """Whether a model's makers publish it so, in FP8 blocks or as its config.json says."""
    own = entry.config.get("quantization_config", {}).get("quant_method")
    return any(
        variant.huggingface == repository
        and variant.quantization == method
        and (variant.block_size is not None or method == own)
        for variant in entry.variants
    )


def told_quantization(
    model: ModelSpec, entry: Model | None, method: str | None, engine: EngineTraits
) -> str | None:
    """What the engine must be told: nothing of weights that are quantised already.

    ``--quantization awq`` would even keep vLLM from its faster kernels (``awq_marlin``), and
    SGLang's documentation asks not to add it.
    """
    if method not in engine.in_flight:
        return None
    ready = entry is not None and _find(entry, method) is not None
    return None if ready or (entry is None and method == "fp8" and model.weights) else method


def ollama_weights(
    path: str, model: ModelSpec, entry: Model | None, method: str | None
) -> WeightsPlan:
    """A tag of Ollama's library.

    Raises:
        PlanError: if there is none.
    """
    if model.weights:
        return declared_weights(model.weights)
    wanted = method or DEFAULT_QUANTIZATION
    tags = {v.quantization: v.ollama for v in (entry.variants if entry else ()) if v.ollama}
    if wanted in tags:
        return WeightsPlan(tag=tags[wanted])
    found = f"{wanted} weights of {model.name} are not in Ollama's library, as far as Atelier knows"
    fix = "declare path with a GGUF file, or weights with a tag"
    raise PlanError(Problem(f"{path}.quantization", found, ", ".join(sorted(tags)), fix))


def ollama_name(replica: ReplicaPlan) -> str:
    """What Ollama calls a model: its tag in the library, or one made from a file."""
    return replica.weights.tag or f"{replica.model}:latest"


def declared_weights(text: str) -> WeightsPlan:
    """What the operator named: a directory, a tag or a repository."""
    if text.startswith("/"):
        return WeightsPlan(directory=text)
    if ":" in text:
        return WeightsPlan(tag=text)
    repository, _, revision = text.partition("@")
    return WeightsPlan(repository=repository, revision=revision or None)


def _safetensors(
    path: str, model: ModelSpec, entry: Model, method: str | None, engine: EngineTraits
) -> Variant:
    variants = {v.quantization: v for v in entry.variants if v.format == "safetensors"}
    if not variants:
        raise PlanError(
            Problem(
                f"{path}.name",
                f"{model.name} has no weights that {engine.title} loads, only GGUF",
                "a model with safetensors",
                "serve it with engine kind llama_cpp or ollama",
            )
        )
    first = next(iter(variants))
    wanted = method or first
    if wanted in variants:
        return variants[wanted]
    if wanted in engine.in_flight and "none" in variants:
        return variants["none"]
    allowed = dict.fromkeys([*variants, *(engine.in_flight if "none" in variants else ())])
    raise PlanError(
        Problem(
            f"{path}.quantization",
            f"{wanted!r}: there are no such weights of {model.name} that {engine.title} loads",
            ", ".join(allowed),
            "declare weights with a repository that has them",
        )
    )


def _find(entry: Model, method: str) -> Variant | None:
    for variant in entry.variants:
        if variant.quantization == method and variant.format == "safetensors":
            return variant
    return None
