"""From declared models to claims that can be placed, or to why a model cannot be served."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from deploy.catalog import Catalog, Model
from deploy.catalog.quantization import BY_NAME
from deploy.errors import AtelierError, PlanError, Problem
from deploy.model_files import ModelFile, draft_of
from deploy.plan.host_gpus import takes_gpus
from deploy.plan.placement import Claim, counted_context
from deploy.plan.unknown import unknown
from deploy.plan.weights import declared_weights, ollama_weights, safetensors_weights
from deploy.sizing import DeclaredModel, Speculation, find_model, find_speculation
from deploy.sizing.declared import model_of_file
from deploy.sizing.engines import DEFAULT_VERSIONS
from deploy.sizing.reasons_text import cause_text
from deploy.sizing.speculation import gguf_draft_refusals, speculation_refusals
from deploy.spec import DeploymentSpec, EngineSpec, ModelSpec, SpeculativeSpec
from deploy.spec.engine_kinds import TEXT_ROLES, WITHOUT_TEXT, EngineKind, kinds_with
from deploy.units import GIB

IMAGE_VERSION = re.compile(r":v?(\d+\.\d+(\.\d+)*)")
OWN_SETTINGS = (
    "tool_call_parser",
    "reasoning_parser",
    "lora_adapters",
    "max_lora_rank",
    "speculative",
    "language_model_only",
)
"""Settings of models that not every engine has."""


@dataclass(frozen=True)
class Sources:
    """Where models are looked up."""

    catalog: Catalog
    files: Mapping[str, ModelFile]
    """Files on this machine, by the model's name."""
    directory: Path
    """What relative paths are relative to."""


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
    problems = list(_problems(path, model, engine, entry, sources))
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
    limit = _limit(entry, declared)
    longest = model.max_model_len or engine.max_model_len
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


def _problems(
    path: str, model: ModelSpec, engine: EngineSpec, entry: Model | None, sources: Sources
) -> Iterator[Problem]:
    kind, known = engine.kind, entry is not None
    takes_files = engine.traits.weights == "gguf"
    if model.path is not None and not takes_files:
        found = f"{kind} does not serve GGUF files here"
        fix = "declare config and weights, or engine kind llama_cpp or ollama"
        yield Problem(f"{path}.path", found, "engine kind llama_cpp, ollama", fix)
    fetches = engine.traits.fetches
    if not fetches and not known and model.path is None and model.config is not None:
        allowed = "a GGUF file on this machine"
        yield Problem(f"{path}.path", "not set", allowed, "declare path with its GGUF file")
    if model.extra_args and kind == "ollama":
        yield Problem(f"{path}.extra_args", "ollama takes no arguments", "none", "declare env")
    if not fetches and model.name not in sources.files and known:
        yield _without_file(f"{path}.name", model.name)
    elif not known and model.path is None and model.config is None:
        names = list(sources.catalog.models)
        own = "path" if takes_files else "config"
        allowed = f"a model that `atelier models` lists, or any with a {own}"
        yield unknown(f"{path}.name", model.name, names, allowed)
    if entry is not None:
        yield from _role_problems(path, model, entry, _possible(entry, engine))
    yield from _feature_problems(path, model, engine, known=known)


def _argument_problems(
    path: str, engine: EngineSpec, arguments: tuple[str, ...]
) -> Iterator[Problem]:
    own = engine.traits.own_arguments
    for argument in arguments:
        if engine.traits.quotes_nothing and len(argument.split()) != 1:
            # what it is may be a secret
            found = f"one with spaces, at which the image of {engine.kind} takes it apart"
            yield Problem(f"{path}.extra_args", found, "arguments without spaces")
        name = argument.partition("=")[0]
        if name in own:
            found = f"{name}: what it does would not be planned"
            yield Problem(f"{path}.extra_args", found, fix=own[name])


def _feature_problems(
    path: str, model: ModelSpec, engine: EngineSpec, *, known: bool
) -> Iterator[Problem]:
    """What is declared and the engine does not do; of the catalogue's, their roles say more."""
    kind, traits = engine.kind, engine.traits
    if "max_lora_rank" in traits.model_settings and model.max_lora_rank and not model.lora_adapters:
        fix = "declare lora_adapters, or remove max_lora_rank"
        yield Problem(f"{path}.max_lora_rank", "there are no adapters", fix=fix)
    yield from _argument_problems(path, engine, (*engine.extra_args, *model.extra_args))
    if model.speculative and "speculative" in traits.model_settings:
        yield from _draft_problems(path, model.speculative, engine)
    for name in OWN_SETTINGS:
        if getattr(model, name) and name not in traits.model_settings:
            found, fix = f"{kind} has no such setting", f"remove {name}"
            yield Problem(f"{path}.{name}", found, _with_engine(name), fix)
    for role, what in WITHOUT_TEXT.items():
        if not known and role in (model.roles or ()) and role not in traits.more_roles:
            found = f"Atelier does not have {kind} {what}"
            yield Problem(f"{path}.roles", found, _with_engine(role), "declare kind='vllm'")


def _draft_problems(path: str, said: SpeculativeSpec, engine: EngineSpec) -> Iterator[Problem]:
    """How an engine that drafts tokens does not draft them, and where the draft is."""
    kind, fetches = engine.kind, engine.traits.fetches
    if said.method not in engine.traits.drafts:
        allowed = ", ".join(engine.traits.drafts)
        yield Problem(f"{path}.speculative.method", f"{said.method!r} with {kind}", allowed)
    elif not fetches and said.method == "draft_model" and said.path is None:
        fix = "declare path of speculative with the draft's GGUF file"
        yield Problem(f"{path}.speculative.path", "not set", "a GGUF file on this machine", fix)
    if fetches and said.path is not None:
        found, fix = f"{kind} fetches the draft", "remove path, or declare kind='llama_cpp'"
        yield Problem(f"{path}.speculative.path", found, "with engine kind llama_cpp", fix)
    if not fetches and said.weights is not None:
        yield Problem(f"{path}.speculative.weights", f"{kind} fetches none", fix="remove weights")


def _with_engine(name: str) -> str:
    """Which engines have a setting, or serve a role."""
    return f"with engine kind {' or '.join(kinds_with(name))}"


def _possible(entry: Model, engine: EngineSpec) -> tuple[str, ...]:
    """What a model of the catalogue can be served for."""
    known = (*TEXT_ROLES, *engine.traits.more_roles)
    return tuple(role for role in entry.roles if role in known)


def _role_problems(
    path: str, model: ModelSpec, entry: Model, possible: tuple[str, ...]
) -> Iterator[Problem]:
    if not possible:
        found = f"{model.name} is for {', '.join(entry.roles)} only"
        allowed = "a model for chat or completion, or engine kind vllm"
        yield Problem(f"{path}.name", found, allowed, "see: atelier models")
    elif missing := [role for role in model.roles or () if role not in possible]:
        found = f"{model.name} was not trained for {', '.join(missing)}"
        fix = f"see: atelier models --role {missing[0]}"
        yield Problem(f"{path}.roles", found, ", ".join(possible), fix)


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
        fix = "declare it of the engine of models with experts alone"
        yield Problem("engine.enable_expert_parallel", found, fix=fix)


def _placed(path: str, problem: Problem) -> Problem:
    found = f"{problem.path}: {problem.found}"
    return Problem(path, found, problem.allowed, problem.fix)


def _roles(entry: Model | None, engine: EngineSpec) -> tuple[str, ...]:
    return _possible(entry, engine) if entry else ("chat",)


def _limit(entry: Model | None, declared: DeclaredModel | None) -> int:
    """Tokens of context that the model was made for."""
    if declared is not None:
        return declared.architecture.max_position_embeddings
    return entry.max_model_len if entry else 10_000_000


def _without_file(path: str, name: str) -> Problem:
    return Problem(
        path,
        f"{name!r} is not shipped with Atelier",
        "a model with a file on this machine",
        "download its GGUF file and declare it with path",
    )
