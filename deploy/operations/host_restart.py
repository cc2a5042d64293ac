"""A host is restarted: its units rest meanwhile, and serve again when it is back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import gevent
from pyinfra.api import FunctionCommand, StringCommand
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.host import Host
from pyinfra.api.state import State

from deploy.artefacts import Artefacts
from deploy.errors import HostError
from deploy.facts import look
from deploy.hosts.ssh import CONNECTION_ERRORS
from deploy.operations import sudo
from deploy.operations.commands import show_failure
from deploy.operations.lock import RESTARTED, GiveBack
from deploy.operations.progress import telling
from deploy.operations.rested import RestedCommand
from deploy.pyinfra_connection import forget_sudo
from deploy.services import Unit
from deploy.services.container import LABEL_DEPLOYMENT

PAUSE_SECONDS = 5
STOP_SECONDS = 60
"""So long a container may take to end what it is at, before the host is restarted."""


def restart(  # noqa: PLR0913, PLR0917 - the host before, meanwhile and after
    artefacts: Artefacts,
    units: Sequence[Unit],
    boot_id: str,
    timeout_seconds: int,
    then: Sequence[PyinfraCommand] = (),
    leaving: Sequence[str] = (),
) -> RestedCommand:
    """A command that restarts the host.

    Args:
        artefacts: the deployment.
        units: those that run on the host, in the order in which they start.
        boot_id: what the host has now; another one says that it was restarted.
        timeout_seconds: so long it may take to answer.
        then: what is done before its units start again.
        leaving: names of those that do not: the deployment replaces or removes them.
    """
    work = (
        StringCommand(_stopping(artefacts.plan.name)),
        FunctionCommand(_restart, (boot_id, timeout_seconds), {}),
        *then,
    )
    return RestedCommand(work, units, artefacts, leaving=leaving)


def _stopping(deployment: str) -> str:
    """Stop what else the deployment has left there, newest first."""
    label = f"label={LABEL_DEPLOYMENT}={deployment}"
    listed = f"docker ps --quiet --filter {label} 2>/dev/null"
    return f'for id in $({listed}); do docker stop --time {STOP_SECONDS} "$id" >/dev/null; done'


def _restart(state: State, host: Host, boot_id: str, timeout_seconds: int) -> bool:
    """Restart the host, and wait until it answers with another boot id."""
    arguments: dict[str, Any] = {"_sudo": bool(host.data.get("_sudo"))}
    host.run_shell_command(
        StringCommand("( sleep 2; systemctl reboot ) </dev/null >/dev/null 2>&1 &"), **arguments
    )
    host.connector_data[RESTARTED] = True
    GiveBack.host_disconnect(state, host)
    forget_sudo(host)
    host.disconnect()
    seen = ["it has not answered since"]
    started = time.monotonic()
    with telling(host, lambda seconds: f"restarting: {seconds:.0f} s; {seen[0]}"):
        while time.monotonic() - started < timeout_seconds:
            gevent.sleep(PAUSE_SECONDS)
            seen[0] = _look(host, boot_id)
            if not seen[0]:
                look.forget()
                return True
    show_failure(
        host,
        f"{host.name} has not come back within {timeout_seconds} s after its restart: {seen[0]}\n"
        "    fix: see its console; when it is up again, run this again: it goes on from here",
    )
    return False


def _look(host: Host, boot_id: str) -> str:
    """What a host that is being restarted says; empty when it is up again."""
    try:
        host.connect(show_errors=False)
        if not host.connected:
            return "it does not answer"
        _, output = host.run_shell_command(
            StringCommand("cat /proc/sys/kernel/random/boot_id"), _timeout=20
        )
        if output.output.strip() in {"", boot_id}:
            host.disconnect()
            return "it answers, and has not been restarted yet"
        if host.data.get("_sudo"):
            sudo.unlock()
    except (ConnectError, HostError, *CONNECTION_ERRORS) as error:
        return f"it does not answer: {error}"
    return ""
