"""Docker on a host, installed, configured and running."""

from __future__ import annotations

from pyinfra import host

from deploy.errors import HostError
from deploy.facts import look
from deploy.facts.docker import Docker
from deploy.hosts.docker_setup import DockerSetup, make_docker_setup
from deploy.operations.change import announce_all
from deploy.operations.commands import Commands, not_deployable, refuse
from deploy.operations.lock import changes_host
from deploy.operations.script import ScriptCommand
from deploy.spec import HostSpec

SCRIPT = "docker.sh"
PROGRESS = {
    "install": "installing Docker",
    "configure": "configuring Docker",
    "start": "starting Docker",
}
"""What is said while it goes on."""


@changes_host
def running(spec: HostSpec, *, cgroupfs: bool = False, cdi: bool = False) -> Commands:
    """Docker is installed, configured and runs, where it is Atelier's to look after.

    Args:
        spec: the host as declared.
        cgroupfs: whether a container would lose its GPU under the cgroup driver systemd.
        cdi: whether a container is given GPUs by name.
    """
    found = look.ask(Docker)
    try:
        setup = make_docker_setup(spec, found, cgroupfs=cgroupfs, cdi=cdi)
    except HostError as error:
        yield from refuse(not_deployable(error))
        return
    announce_all(setup.changes)
    yield from _carry_out(setup)
    if not setup.changes:
        host.noop("Docker is as declared, or Atelier does not manage it")


def _carry_out(setup: DockerSetup) -> Commands:
    """Configure before installing, so that the daemon's first start is with its settings."""
    if setup.daemon_json is not None or setup.load in {"reload", "restart"}:
        load = setup.load if setup.load in {"reload", "restart"} else "-"
        yield _script("configure", load, stdin=setup.daemon_json or "")
    if setup.install:
        packages = setup.install
        origin = (packages.manager, packages.repository, packages.codename)
        yield _script("install", *origin, *packages.names)
    if setup.enable or setup.load == "start":
        yield _script("start")


def _script(*arguments: str, stdin: str = "") -> ScriptCommand:
    return ScriptCommand(
        SCRIPT,
        *arguments,
        stdin=stdin,
        redact=str,
        progress=PROGRESS.get(arguments[0], "working on Docker"),
    )
