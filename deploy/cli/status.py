"""``atelier status``: what runs, compared with the plan."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from signal import Signals
from typing import TYPE_CHECKING

import typer
from rich.markup import escape

from deploy.cli.options import InventoryArgument, JsonOption
from deploy.cli.output import print_json, print_table
from deploy.hosts.certificate_checks import SOON_DAYS, URGENT_DAYS
from deploy.units import MIB

if TYPE_CHECKING:
    from deploy.live.hangs import Hangs
    from deploy.live.restarts import Restarts
    from deploy.live.status import ServiceStatus

SIGNALLED = 128
"""A process that a signal ended has the exit status 128 and the signal's number."""


def status(inventory: InventoryArgument, as_json: JsonOption = False) -> None:
    """Show every service of the plan as it runs, read through Docker's API and systemctl.

    Exit status 0 if everything runs, healthy and as planned, and no certificate that a deployment
    renews ends within a week, else 1. JSON: {"ok": bool,
    "services": [{"service", "host", "image", "state", "health", "drift", "url",
    "uptime_seconds", "memory_bytes", "memory_limit_bytes", "restarts": {"count", "exit_status",
    "out_of_memory"}, "certificate_days", "certificate_renews_itself", "certificate_problem",
    "health_said", "hangs": {"times", "at", "why"} or null}]}.
    """
    from deploy.cli.load import load_artefacts
    from deploy.live.status import read_status

    artefacts = load_artefacts(inventory)
    services = list(read_status(artefacts))
    ok = all(service.ok for service in services)
    if as_json:
        print_json({"ok": ok, "services": [asdict(service) for service in services]})
    else:
        columns = ["service, image, URL", "host", "state, drift", "memory, uptime"]
        print_table(artefacts.plan.name, columns, [_row(service) for service in services])
    raise typer.Exit(0 if ok else 1)


def _row(service: ServiceStatus) -> list[str]:
    healthy = service.state == "running" and service.health == "healthy"
    state = f"{service.state}, {service.health}" if service.health else service.state
    drift = ", ".join(service.drift)
    certificate = _certificate(service)
    if service.certificate_problem:
        certificate = f"[yellow]certificate: {escape(service.certificate_problem)}[/]"
    names = [f"[bold]{service.service}[/]", f"[dim]{service.image}[/]", service.url]
    # an engine that cannot read the host's cgroups reports no memory
    used = str(service.memory_bytes // MIB) if service.memory_bytes else "?"
    memory = f"{used} / {service.memory_limit_bytes // MIB} MiB"
    restarts = restarts_text(service.restarts)
    return [
        "\n".join(name for name in [*names, certificate] if name),
        service.host,
        (f"[green]{state}[/]" if healthy else f"[red]{state}[/]")
        + (f"\n[red]{escape(service.health_said)}[/]" if service.health_said else "")
        + (f"\n[yellow]drift: {drift}[/]" if drift else "\nno drift")
        + (f"\n[yellow]{restarts}[/]" if restarts else "")
        + (f"\n[yellow]{escape(hangs_text(service.hangs))}[/]" if service.hangs else ""),
        f"{memory}\nup {timedelta(seconds=service.uptime_seconds)}",
    ]


def _certificate(service: ServiceStatus) -> str:
    """How long a certificate lasts, where there is one."""
    days = service.certificate_days
    if days is None:
        return ""
    if days < 0:
        return f"[red]certificate: ended {-days} days ago[/]"
    color = "red" if days < URGENT_DAYS else "yellow" if days < SOON_DAYS else "dim"
    if service.certificate_renews_itself or color == "dim":
        # those that last a week are renewed by whoever issues them
        return f"[dim]certificate: {days} days left[/]"
    return f"[{color}]certificate: {days} days left, see `atelier doctor`[/]"


def restarts_text(restarts: Restarts) -> str:
    """How often it was started again, and how it ended last."""
    if restarts.out_of_memory:
        why = "out of memory"
    elif restarts.exit_status is None:
        why = ""
    else:
        why = f"exit status {restarts.exit_status}"
        if restarts.exit_status > SIGNALLED:
            with suppress(ValueError):
                why += f" ({Signals(restarts.exit_status - SIGNALLED).name})"
    times = f"restarted: {restarts.count}" if restarts.count else ""
    return ", ".join(part for part in (times, why) if part)


def hangs_text(hangs: Hangs) -> str:
    """How often an engine hung, and what was seen last; its log has the rest."""
    when = hangs.at[:19].replace("T", " ")
    return f"hung: {hangs.times}, last {when} UTC: {hangs.why}"
