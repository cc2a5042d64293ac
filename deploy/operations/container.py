"""A container that runs as wanted: the heart of a deployment."""

from __future__ import annotations

from pathlib import PurePosixPath

from pyinfra import host, state

from deploy.drift import Change, container_change
from deploy.facts.component import Component as ComponentFact
from deploy.facts.component import ComponentState
from deploy.facts.health import Health
from deploy.operations import file_tree, ollama_model
from deploy.operations.change import announce_all
from deploy.operations.commands import Commands, foreign, refuse
from deploy.operations.lock import changes_host
from deploy.operations.script import ScriptCommand
from deploy.secrets import SecretStore
from deploy.services import Component, ConfigTree

SCRIPT = "container.sh"


@changes_host
def running(component: Component, deployment: str, secrets: SecretStore) -> Commands:
    """The component's files and model are there and its container runs as described, healthy.

    A container that differs is replaced: the new one must become healthy, else the one before
    serves again and the operation fails with the new one's last log lines.

    Args:
        component: the container, its files and how long it may take to start.
        deployment: name of the deployment that it belongs to.
        secrets: the values of its secrets.
    """
    container, tree = component.container, component.config
    found = host.get_fact(ComponentFact, **_of_interest(component))
    live = found.containers.get(container.name)
    if live and live.deployment != deployment:
        yield from refuse(f"container {container.name} {foreign(live.deployment)}")
        return
    outdated = tree if tree and not file_tree.is_written(tree, found.releases) else None
    change = container_change(
        container.name,
        container.public(secrets.digest),
        found.containers,
        found.image_id,
        config_is_newer=_config_is_newer(found, container.name, outdated),
    )
    model = component.model
    model_change = model and ollama_model.model_change(
        container.name, model, found.models, restarts=change is not None
    )
    if outdated:
        announce_all(file_tree.changes(outdated, found.releases, _release_in_use(component, found)))
    announce_all(made for made in (change, model_change) if made)
    if outdated:
        yield from file_tree.write(outdated)
    if change:
        yield _command(change, component, deployment, secrets)
    else:
        host.noop(f"container {container.name} runs as wanted")
        if live and live.health == "starting" and state.is_executing:
            yield from _wait(component, secrets)
    if model and model_change:
        yield ollama_model.model_command(container.name, model, model_change)


def _of_interest(component: Component) -> dict[str, str]:
    """What the fact is asked for."""
    container, tree, model = component.container, component.config, component.model
    asked = {"container": container.name, "image": container.image}
    if tree:
        asked |= {"config_root": str(tree.root), "release": tree.release}
    if model:
        asked |= {"model_volume": model.volume, "model_home": str(model.home)}
    return asked


def _command(
    change: Change, component: Component, deployment: str, secrets: SecretStore
) -> ScriptCommand:
    container = component.container
    timeout = str(component.start_timeout_seconds)
    match change.action:
        case "create" | "recreate":
            values = container.secret_env.items()
            return ScriptCommand(
                *(SCRIPT, "replace", container.name, timeout),
                *container.create_arguments(deployment, secrets.digest),
                stdin="\n".join(f"{name}={secrets.value(secret)}" for name, secret in values),
                redact=secrets.redact,
            )
        case "start" | "restart" as action:
            return ScriptCommand(SCRIPT, action, container.name, timeout, redact=secrets.redact)
        case _:
            return ScriptCommand(SCRIPT, "clean", container.name, timeout, redact=secrets.redact)


def _config_is_newer(found: ComponentState, name: str, outdated: ConfigTree | None) -> bool:
    """Whether the files a container mounts are, or are about to be, newer than its start."""
    live = found.containers.get(name)
    repaired = outdated is not None and outdated.release in found.releases
    return repaired or (live is not None and found.release_changed_at > live.started_at)


def _release_in_use(component: Component, found: ComponentState) -> str | None:
    """The configuration release that the running container mounts."""
    live = found.containers.get(component.container.name)
    if not (live and live.spec and component.config):
        return None
    sources = [PurePosixPath(mount["source"]) for mount in live.spec.get("mounts", {}).values()]
    root = component.config.root
    return next((source.name for source in sources if source.parent == root), None)


def _wait(component: Component, secrets: SecretStore) -> Commands:
    """Wait for a container that a killed run, or the host's own start, has just started."""
    problem = host.get_fact(
        Health,
        container=component.container.name,
        timeout_seconds=component.start_timeout_seconds,
    )
    if problem:
        yield from refuse(secrets.redact(problem))
