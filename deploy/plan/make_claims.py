"""From declared models to claims that can be placed, or to why a model cannot be served."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from deploy.catalog import Catalog, Model
from deploy.catalog.quantization import BY_NAME
from deploy.errors import AtelierError, PlanError, Problem
from deploy.model_files import Sources, draft_of
from deploy.plan.host_gpus import takes_gpus
from deploy.plan.model_problems import model_problems, possible_roles
from deploy.plan.placement import Claim, context_limit, counted_context
from deploy.plan.weights import declared_weights, ollama_weights, safetensors_weights
from deploy.sizing import DeclaredModel, Speculation, find_model, find_speculation
from deploy.sizing.declared import model_of_file
from deploy.sizing.engines import DEFAULT_VERSIONS
from deploy.sizing.reasons_text import cause_text
from deploy.sizing.speculation import gguf_draft_refusals, speculation_refusals
from deploy.spec import DeploymentSpec, EngineSpec, ModelSpec
from deploy.spec.engine_kinds import EngineKind
from deploy.units import GIB

IMAGE_VERSION = re.compile(r":v?(\d+\.\d+(\.\d+)*)")


def make_claim(spec: DeploymentSpec, index: int, sources: Sources) -> Claim:
    """One model, ready to be placed.

    Raises:
        AtelierError: if it cannot be served as declared.
    """
    model = spec.models[index]
    engine, path = spec.engine_of(model), f"models[{index}]"
    own = model.path is not None or model.config is not None
    entry = None if own else sources.catalog.models.get(model.name)
    method = model.quantization or engine.quantization
    problems = list(model_problems(path, model, engine, entry, sources))
    if problems:
        raise PlanError(*problems)
    declared = _declared(path, model, engine, entry, method, sources)
    if declared is None and takes_gpus(engine, spec):
        declared = _by_its_file(model, sources)
    speculation = _speculation(path, model, sources)
    problems = list(_shape_problems(path, engine, declared, speculation))
    if problems:
        raise PlanError(*problems)
    roles = model.roles or _roles(entry, engine)
    limit = context_limit(entry, declared)
    longest = model.max_model_len or engine.max_model_len
    if longest and engine.shared and not model.max_model_len:
        # one setting of a shared Ollama, which takes less of models that were made for less
        longest = min(longest, limit)
    if longest and longest > limit:
        found, allowed = f"{longest} tokens", f"at most {limit}, what {model.name} was trained for"
        where = f"{path}.max_model_len" if model.max_model_len else "engine.max_model_len"
        raise PlanError(Problem(where, found, allowed))
    return Claim(
        index=index,
        model=model,
        engine=engine,
        entry=entry,
        roles=roles,
        context_tokens=counted_context(spec.context_tokens, roles, longest, limit),
        max_model_len=longest,
        declared=declared,
        quantization=method,
        engine_version=engine_version(spec, sources.catalog, engine.kind),
        speculation=speculation,
    )


def engine_version(spec: DeploymentSpec, catalog: Catalog, kind: EngineKind) -> str:
    """Version of an engine that is sized by its version, as the image it runs from is tagged."""
    if kind not in DEFAULT_VERSIONS:
        return ""
    name = kind.replace("_", "-")
    own = spec.images.get(name)
    reference = (own.reference if own else None) or catalog.images[name].reference
    match = IMAGE_VERSION.search(reference.rsplit("/", 1)[-1])
    return match[1] if match else DEFAULT_VERSIONS[kind]


def _declared(  # noqa: PLR0913, PLR0917
    path: str,
    model: ModelSpec,
    engine: EngineSpec,
    entry: Model | None,
    method: str | None,
    sources: Sources,
) -> DeclaredModel | None:
    """What sizing knows; ``None`` of GGUF files with nothing else."""
    file = sources.files.get(model.name) if engine.traits.weights == "gguf" else None
    if model.path is not None and model.config is None:
        return None
    if engine.traits.weights == "safetensors":
        safetensors_weights(path, model, entry, method, engine.traits)
    elif file is None:
        ollama_weights(path, model, entry, method)
    name = str(sources.directory / model.config) if model.config else model.name
    try:
        found = find_model(name, sources.catalog, method, engine.kind)
        found = _of_other_makers(found, model, entry)
        return replace(found, weights_gib=file.size_bytes / GIB) if file else found
    except AtelierError as error:
        place = f"{path}.config" if model.config else f"{path}.name"
        raise PlanError(*(_placed(place, problem) for problem in error.problems)) from None


def _of_other_makers(found: DeclaredModel, model: ModelSpec, entry: Model | None) -> DeclaredModel:
    """A model with other weights than the catalogue's: not in blocks, if those of makers are."""
    as_published = entry is None or model.config or "quantization_config" in entry.config
    if as_published or not (model.weights and model.quantization):
        return found
    known = {variant.huggingface for variant in entry.variants} if entry else set()
    scheme = found.architecture.quantization
    if declared_weights(model.weights).repository in known or not scheme.block_rows:
        return found
    usual = BY_NAME[scheme.method]
    return replace(found, architecture=replace(found.architecture, quantization=usual))


def _by_its_file(model: ModelSpec, sources: Sources) -> DeclaredModel | None:
    """What the head of a model's file says of it."""
    file = sources.files[model.name]
    found = model_of_file(model.name, (part.path for part in file.parts))
    return replace(found, weights_gib=file.size_bytes / GIB) if found else None


def _speculation(path: str, model: ModelSpec, sources: Sources) -> Speculation | None:
    said = model.speculative
    if said is None:
        return None
    draft, file = said.draft, sources.files.get(draft_of(model.name))
    if draft is not None and ("/" in draft or draft.endswith(".json")):
        draft = str(sources.directory / draft)
    try:
        found = find_speculation(
            said.method, said.num_speculative_tokens, draft, said.acceptance, sources.catalog
        )
        return replace(found, draft_gib=file.size_bytes / GIB) if file else found
    except AtelierError as error:
        place = f"{path}.speculative.draft"
        raise PlanError(*(_placed(place, problem) for problem in error.problems)) from None


def _shape_problems(
    path: str,
    engine: EngineSpec,
    declared: DeclaredModel | None,
    speculation: Speculation | None,
) -> Iterator[Problem]:
    """What the model's layers do not allow."""
    if declared is None:
        return
    gguf = engine.traits.weights == "gguf"
    refusals = gguf_draft_refusals if gguf else speculation_refusals
    for why in refusals(speculation, declared.architecture):
        yield Problem(f"{path}.speculative", cause_text(why), fix="remove it")
    if engine.enable_expert_parallel and declared.architecture.moe is None:
        found = f"{declared.name} has no experts: {engine.traits.title} does not start with it"
        fix = "declare it only for models that have experts"
        yield Problem("engine.enable_expert_parallel", found, fix=fix)


def _placed(path: str, problem: Problem) -> Problem:
    found = f"{problem.path}: {problem.found}"
    return Problem(path, found, problem.allowed, problem.fix)


def _roles(entry: Model | None, engine: EngineSpec) -> tuple[str, ...]:
    return possible_roles(entry, engine) if entry else ("chat",)
