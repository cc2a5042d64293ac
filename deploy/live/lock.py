"""The lock of a deployment on a host: looked at, or taken from a run that is gone."""

from __future__ import annotations

import shlex

from deploy.errors import HostError, Problem
from deploy.live.shell import run_once
from deploy.lock import LockState, parse_lock, way_out_of
from deploy.scripts import read_script
from deploy.spec import HostSpec

SCRIPT = "lock.sh"
OF_ANOTHER = (
    "see who has it now: atelier lock status INVENTORY; the process of another user is ended by "
    "that user or by root (sudo=True for this host)"
)


def read_lock(host: HostSpec, deployment: str) -> LockState:
    """Who has the lock of a deployment, or had it last.

    Raises:
        ConnectionFailedError: if the host cannot be reached.
        HostError: if it does not say.
    """
    return _ask(host, deployment, "status")


def release_lock(host: HostSpec, deployment: str, pid: int) -> LockState:
    """End the process on the host that holds the lock, if it still does.

    Args:
        host: the host.
        deployment: name of the deployment.
        pid: the process that was seen to hold it.

    Raises:
        ConnectionFailedError: if the host cannot be reached.
        HostError: if that process does not hold it, or belongs to another user.
    """
    return _ask(host, deployment, "release", str(pid))


def _ask(host: HostSpec, deployment: str, action: str, *more: str) -> LockState:
    directory = str(host.deployment_directory(deployment))
    script = read_script(SCRIPT)
    command = shlex.join(["sh", "-c", script, "atelier", action, directory, *more])
    status, output = run_once(host, command)
    if status:
        allowed, fix = way_out_of(output) or ("", OF_ANOTHER)
        raise HostError(Problem(f"host {host.name}", f"lock: {output.strip()}", allowed, fix))
    return parse_lock(output)
