"""One run at a time changes a deployment on a host."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

from paramiko import SSHException
from pyinfra import state
from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.api.arguments_typed import PyinfraOperation
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.host import Host
from pyinfra.api.state import BaseStateCallback, State

from deploy.errors import HostError, InventoryFileError, Problem
from deploy.facts import look
from deploy.hosts.ssh import CONNECTION_ERRORS
from deploy.inventory import Declared
from deploy.lock import (
    ANSWER,
    LockState,
    describe,
    held_problem,
    lost_problem,
    parse_lock,
    stale_problem,
    untaken_problem,
)
from deploy.operations.attached import Attached, attach
from deploy.operations.commands import Commands, is_refusal, show_failure
from deploy.scripts import read_script
from deploy.spec import HostSpec

SCRIPT = "lock.sh"
REASON_VARIABLE = "ATELIER_LOCK_REASON"
HELD = "atelier_lock"
"""Where the process is kept that holds a host's lock, in what pyinfra keeps of the host."""
RESTARTED = "atelier_restarted"
"""Where it is kept that this run itself gave a host's lock back, to restart the host."""
WORTH_SAYING = re.compile(r"[^-].*\.py|deploy\.[\w.]+|volumes=\w+")
"""Arguments of a run that others are shown; there may be a password among the others."""
BEGAN = time.monotonic()
"""When this run began to look at hosts, or a little before."""

P = ParamSpec("P")


def changes_host(body: Callable[P, Commands]) -> PyinfraOperation[P]:
    """Pyinfra's ``@operation()`` for whatever changes a deployment: under its lock.

    An operation that changes nothing, or refuses to, takes no lock. After one that does change
    something, what was seen of the host no longer holds.
    """

    @wraps(body)
    def locked(*args: P.args, **kwargs: P.kwargs) -> Commands:
        is_locked = False
        for command in body(*args, **kwargs):
            if not (is_locked or is_refusal(command)):
                yield TakeLock()
                is_locked = True
            yield command
            if state.is_executing:
                look.forget()

    return operation()(locked)


class TakeLock(PyinfraCommand):
    """Takes the lock of the deployment on the host, unless this run has it already.

    It is given back when pyinfra disconnects, however the run ends.
    """

    def __repr__(self) -> str:
        return "TakeLock()"

    def execute(self, state: State, host: Host, connector_arguments: Any) -> bool:
        """Take it, or say who has it."""
        deployment, spec = _declared(host)
        holder: Attached | None = host.connector_data.get(HELD)
        if holder is None:
            problem = _take(state, host, dict(connector_arguments), deployment, spec)
        elif holder.is_alive():
            return True
        else:
            problem = lost_problem(host.name, deployment)
        if problem:
            show_failure(host, str(problem))
        return problem is None


class GiveBack(BaseStateCallback):
    """Gives locks back when pyinfra disconnects: also from a run that fails or is interrupted."""

    @staticmethod
    def host_disconnect(state: State, host: Host) -> None:  # noqa: ARG004 - pyinfra gives both
        """Give the lock back, if this run has it there."""
        holder: Attached | None = host.connector_data.pop(HELD, None)
        if holder is None:
            return
        # a connection that is broken has given it back
        with contextlib.suppress(*CONNECTION_ERRORS, subprocess.TimeoutExpired):
            holder.send("done")
            holder.end()


def _take(
    state: State, host: Host, arguments: dict[str, Any], deployment: str, spec: HostSpec
) -> Problem | None:
    """Take the lock; what keeps this run from going on, if anything does."""
    looking_seconds = time.monotonic() - BEGAN
    directory = str(spec.deployment_directory(deployment))
    try:
        holder = attach(host, _command(directory), arguments)
        holder.send(json.dumps(_this_run()))
        found = parse_lock(holder.answer(ANSWER))
    except HostError as error:
        return untaken_problem(host.name, directory, error)
    except EOFError as error:
        raise SSHException("the connection broke") from error
    if found.lock == "held":
        return held_problem(host.name, deployment, found)
    host.connector_data[HELD] = holder
    _give_back_at_the_end(state)
    if found.changed_within(looking_seconds) and not host.connector_data.get(RESTARTED):
        return stale_problem(host.name, deployment, found)
    _tell_of_a_cut(host, found)
    return None


def _tell_of_a_cut(host: Host, found: LockState) -> None:
    if found.was_cut:
        host.log(
            "the last run here was killed or lost its connection: "
            f"{describe(found)}; this run goes on from what it left"
        )


def _give_back_at_the_end(state: State) -> None:
    if not any(isinstance(handler, GiveBack) for handler in state.callback_handlers):
        state.add_callback_handler(GiveBack())


def _command(directory: str) -> StringCommand:
    script = QuoteString(read_script(SCRIPT))
    return StringCommand("sh", "-c", script, "atelier", "hold", QuoteString(directory))


def _declared(host: Host) -> tuple[str, HostSpec]:
    """Name of the deployment, and the host as declared."""
    declared = host.data.get("atelier")
    if not isinstance(declared, Declared):
        raise InventoryFileError(Problem(host.name, "no deployment is declared for this host"))
    spec = next(spec for spec in declared.spec.hosts if spec.name == host.name)
    return declared.spec.name, spec


def _this_run() -> dict[str, Any]:
    """What others are told of this run."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    said = [argument for argument in sys.argv[1:] if WORTH_SAYING.fullmatch(argument)]
    return {
        "who": f"{user}@{socket.gethostname()}",
        "process": os.getpid(),
        "doing": " ".join(["pyinfra", *said]),
        "reason": " ".join(os.environ.get(REASON_VARIABLE, "").split()),
    }
