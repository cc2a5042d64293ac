"""A whole deployment on a host."""

from __future__ import annotations

from pathlib import PurePosixPath

from pyinfra import host
from pyinfra.api import QuoteString, StringCommand

from deploy.changes.change import Change
from deploy.facts.deployment import Belongings, Deployment
from deploy.operations.change import announce_all
from deploy.operations.commands import Commands, refuse
from deploy.operations.container_command import SCRIPT
from deploy.operations.lock import changes_host
from deploy.operations.script import DockerCommand, ScriptCommand
from deploy.operations.together import TogetherCommand
from deploy.services.stopping import in_turn


@changes_host
def absent(deployment: str, directory: PurePosixPath, *, volumes: bool = False) -> Commands:
    """Nothing of the deployment is on the host; images and model files stay, others may use them.

    Args:
        deployment: name of the deployment.
        directory: its own directory on the host.
        volumes: whether its volumes and data go too, and with them users and chats.
    """
    found = host.get_fact(Deployment, deployment=deployment, directory=str(directory))
    if found.unanswering_engine:
        yield from refuse("Docker does not answer: start it, so that containers can be removed")
        return
    doomed = {
        "container": found.containers,
        "service": found.services,
        "network": found.networks,
        "volume": found.volumes if volumes else (),
        "data": found.data if volumes else (),
        "directory": found.directory,
    }
    announce_all(
        Change(f"{kind} {name}", "remove") for kind, names in doomed.items() for name in names
    )
    yield from _end(found)
    if found.containers:
        names = [QuoteString(name) for name in found.containers]
        yield DockerCommand("docker", "container", "rm", "--force", *names)
    for kind in ("network", "volume"):
        for name in doomed[kind]:
            yield DockerCommand("docker", kind, "rm", QuoteString(name))
    for path in doomed["data"]:
        # of an account that systemd makes, what is there is a link
        private = PurePosixPath(path).parent / "private" / PurePosixPath(path).name
        yield StringCommand("rm", "-rf", QuoteString(path), QuoteString(str(private)))
    for path in doomed["directory"]:
        yield StringCommand("rm", "-rf", QuoteString(path))


def _end(found: Belongings) -> Commands:
    """What asks others ends before them, each with the time that it has to end what it has begun.

    Containers are still there then, and services are gone.
    """
    services = dict(row.split(" ", 1) for row in found.kinds if " " in row)
    for together in in_turn((*found.containers, *found.services), services):
        stopped = [name for name in together if name in found.containers]
        lanes = [[_script("stop", ",".join(stopped))]] if stopped else []
        lanes += [[_script("remove", name)] for name in together if name in found.services]
        yield TogetherCommand(lanes) if len(lanes) > 1 else lanes[0][0]


def _script(action: str, names: str) -> ScriptCommand:
    progress = f"stopping {names.replace(',', ', ')}"
    return ScriptCommand(SCRIPT, action, names, "0", redact=str, progress=progress)
