"""The services of a deployment that systemd or launchd runs on a host, as a part of other facts."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping

from deploy.changes.live import LiveService
from deploy.live.inspect import live_service, parse_spec, values_by_name
from deploy.scripts import read_script
from deploy.services.host_service import SERVICES
from deploy.services.unit import holds_of

SECTION = "@service "


def look_at_services(deployment: str, names: Iterable[str]) -> str:
    """Shell command that prints what parse_services reads.

    Args:
        deployment: name of the deployment.
        names: units that it wants: services of others with such names are found, too.
    """
    script = shlex.quote(read_script("look_at_services.sh"))
    return f"sh -c {script} atelier {shlex.join([deployment, *names])}"


def split_services(output: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The other lines, and those of each service by its name."""
    rest: list[str] = []
    services: dict[str, list[str]] = {}
    current = rest
    for line in output:
        if line.startswith(SECTION):
            current = services.setdefault(line.removeprefix(SECTION), [])
        elif line.startswith("@"):
            current = rest
            rest.append(line)
        else:
            current.append(line)
    return rest, services


def parse_services(services: Mapping[str, list[str]]) -> dict[str, LiveService]:
    """Services by name."""
    return {name: live_service(name, values_by_name(lines)) for name, lines in services.items()}


def look_at_holds(deployment: str) -> str:
    """Shell command that prints what the services of a deployment hold."""
    mark = shlex.quote(f"Deployment={deployment}")
    return (
        f"grep -lxF {mark} /etc/systemd/system/*.service {SERVICES}/*/marks 2>/dev/null | "
        "while read -r file; do sed -n 's/^Holds=//p' \"$file\"; done"
    )


def parse_holds(lines: Iterable[str]) -> frozenset[int]:
    """Their ports."""
    return frozenset(port for line in lines for port in holds_of(parse_spec(line), None).ports)
