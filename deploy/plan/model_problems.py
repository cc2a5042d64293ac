"""Why a model cannot be served as it is declared: what its engine and the catalogue say."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.catalog import Model
from deploy.errors import Problem, either
from deploy.model_files import Sources
from deploy.plan.unknown import unknown
from deploy.spec import EngineSpec, ModelSpec, SpeculativeSpec
from deploy.spec.engine_kinds import TEXT_ROLES, WITHOUT_TEXT, kinds_with
from deploy.spec.secrets import is_plain_secret

OWN_SETTINGS = (
    "tool_call_parser",
    "reasoning_parser",
    "lora_adapters",
    "max_lora_rank",
    "speculative",
    "language_model_only",
)
"""Settings of models that not every engine has."""
HUB_TOKEN = "declare secrets={'huggingface_token': Secret(...)}"  # noqa: S105 - says where one is
SECRET_VARIABLE = "if the engine has a variable for it: env={'NAME': Secret(...)}"  # noqa: S105


def model_problems(
    path: str, model: ModelSpec, engine: EngineSpec, entry: Model | None, sources: Sources
) -> Iterator[Problem]:
    """Why one model cannot be served as declared.

    Args:
        path: where it stands in the inventory.
        model: as declared.
        engine: what serves it.
        entry: its row of the catalogue.
        sources: where models are looked up.
    """
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
        yield from _role_problems(path, model, entry, possible_roles(entry, engine))
    yield from _feature_problems(path, model, engine, known=known)


def _argument_problems(
    path: str, engine: EngineSpec, arguments: tuple[str, ...]
) -> Iterator[Problem]:
    own = engine.traits.own_arguments
    for argument in arguments:
        if engine.traits.quotes_nothing and len(argument.split()) != 1:
            # what it is may be a secret
            found = f"one with spaces, where the image of {engine.kind} splits it"
            yield Problem(f"{path}.extra_args", found, "arguments without spaces")
        name = argument.partition("=")[0]
        if name in own:
            found = f"{name}, which Atelier does not allow here"
            yield Problem(f"{path}.extra_args", found, fix=own[name])
    for name in _secret_arguments(arguments):
        if name not in own:
            found = f"{name} has a secret, which everybody on the host could read"
            fix = HUB_TOKEN if name in {"--hf-token", "-hft"} else SECRET_VARIABLE
            yield Problem(f"{path}.extra_args", found, "arguments without secrets", fix)


def _secret_arguments(arguments: tuple[str, ...]) -> Iterator[str]:
    """Names of the options whose values are secrets; the values are not shown."""
    option = ""
    for argument in arguments:
        name, _, value = argument.partition("=")
        if not name.startswith("-"):
            name, value = option or "an argument", argument
        option = "" if value else name
        if is_plain_secret(name, value):
            yield name


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
        fix = "declare path in speculative: the draft's GGUF file"
        yield Problem(f"{path}.speculative.path", "not set", "a GGUF file on this machine", fix)
    if fetches and said.path is not None:
        found, fix = f"{kind} fetches the draft", "remove path, or declare kind='llama_cpp'"
        yield Problem(f"{path}.speculative.path", found, "only with engine kind llama_cpp", fix)
    if not fetches and said.weights is not None:
        yield Problem(
            f"{path}.speculative.weights", f"{kind} does not fetch a draft", fix="remove weights"
        )


def _with_engine(name: str) -> str:
    """Which engines have a setting, or serve a role."""
    return f"only with engine kind {either(kinds_with(name))}"


def possible_roles(entry: Model, engine: EngineSpec) -> tuple[str, ...]:
    """What an engine can serve a model of the catalogue for."""
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


def _without_file(path: str, name: str) -> Problem:
    return Problem(
        path,
        f"{name!r} is not shipped with Atelier",
        "a model with a file on this machine",
        "download its GGUF file and declare it with path",
    )
