"""The operating system of a host, as a part of other facts."""

from __future__ import annotations

import shlex

from deploy.facts.sections import first
from deploy.hosts.state import System

ASK_SYSTEM = '"${atelier_system:=$(uname -sm 2>/dev/null)}"'
"""Shell: the word for the system and its architecture, asked once in a look."""
IS_MAC = f'[ {ASK_SYSTEM} != "${{atelier_system#Darwin}}" ]'
"""Shell condition: the host is a Mac."""
SYSTEM_SECTIONS = (
    "echo '@os'; cat /etc/os-release 2>/dev/null",
    f"echo '@kernel'; echo {ASK_SYSTEM}",
    "echo '@uid'; id -u 2>/dev/null",
    "echo '@systemd'; [ ! -d /run/systemd/system ] || echo yes",
)
"""Shell commands that print the sections which parse_system reads."""


def parse_system(sections: dict[str, list[str]]) -> System:
    """The operating system that the sections describe."""
    release = dict(_assignment(line) for line in sections.get("os", []) if "=" in line)
    return System(
        id=release.get("ID", ""),
        like=tuple(release.get("ID_LIKE", "").split()),
        name=release.get("PRETTY_NAME", release.get("ID", "")),
        version=release.get("VERSION_ID", ""),
        codename=release.get("UBUNTU_CODENAME") or release.get("VERSION_CODENAME", ""),
        kernel=first(sections.get("kernel")),
        has_systemd=bool(sections.get("systemd")),
        is_root=first(sections.get("uid")) == "0",
    )


def _assignment(line: str) -> tuple[str, str]:
    """A line of a file of shell assignments, such as os-release."""
    name, _, value = line.partition("=")
    try:
        return name.strip(), " ".join(shlex.split(value))
    except ValueError:
        return name.strip(), value.strip()
