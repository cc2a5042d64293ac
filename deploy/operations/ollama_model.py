"""The model in an Ollama container: pulled or created, as declared, and kept loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from deploy.changes.change import ABSENT, Change, FieldChange
from deploy.facts.model_store import ModelStore
from deploy.operations.container_command import remove
from deploy.operations.script import ScriptCommand
from deploy.services import StoredModel
from deploy.services.ollama_model import manifest_path, unproven_name

SCRIPT = "ollama.sh"


def model_change(
    container: str, model: StoredModel, found: ModelStore, *, restarts: bool
) -> Change | None:
    """What has to happen to a model; ``None`` if nothing.

    Args:
        container: name of its container.
        model: what is wanted.
        found: what the container has.
        restarts: whether the container is about to start, with nothing in memory.
    """
    resource = f"model {model.name} in {container}"
    fields = _drift(model, found)
    if fields:
        return Change(resource, "create" if model.modelfile else "pull", fields)
    if model.resident and (restarts or model.name not in found.loaded):
        return Change(resource, "load")
    return None


def model_command(container: str, model: StoredModel, change: Change) -> ScriptCommand:
    """Carries the change out; if it fails, the model that was there before still serves."""
    arguments = [change.action, container, model.name]
    if change.action != "load":
        arguments += [manifest_path(model.name), model.source]
    return ScriptCommand(
        SCRIPT,
        *arguments,
        stdin=model.modelfile,
        redact=str,
        progress="" if change.action == "pull" else f"{change.action} {model.name}",
    )


def emptied(models: Mapping[str, tuple[str, ...]]) -> Iterator[ScriptCommand]:
    """What was set aside goes, with the models in its store: until now it could come back.

    Args:
        models: those that Atelier made, by the name of what makes room for another one.
    """
    for name, own in models.items():
        before = f"{name}.previous"
        progress = f"removing models of {name}"
        yield ScriptCommand(SCRIPT, "remove", before, *own, redact=str, progress=progress)
        yield remove(before)


def _drift(model: StoredModel, found: ModelStore) -> tuple[FieldChange, ...]:
    digest, made = found.digests.get(manifest_path(model.name)), found.made.get(model.name)
    if digest is None:
        return (FieldChange("model", ABSENT, model.source),)
    if made is None or made.source != model.source:
        return (FieldChange("made from", made.source if made else "not known", model.source),)
    if made.digest != digest:
        return (FieldChange("digest", digest[:12], made.digest[:12]),)
    if model.modelfile and manifest_path(unproven_name(model.name)) in found.digests:
        # another one takes its name, and then its place
        return (FieldChange("state", "left by an interrupted change", "as made"),)
    return ()
