"""A Mac: what other hosts are asked with Linux's tools, asked with those of BSD and macOS.

sysctl(8), sw_vers(1), pmset(1), launchctl(1), netstat(1), df(1), stat(1) of macOS.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection
from pathlib import PurePosixPath

from pyinfra.api import FactBase

from deploy.facts.known_secrets import look_at_known_secrets, parse_known_secrets
from deploy.facts.places import parse_blocked, parse_places, parse_sizes
from deploy.facts.sections import first, split_sections
from deploy.facts.services import look_at_holds, parse_holds
from deploy.hosts.mac.setup import LABELS, POWER
from deploy.hosts.mac.state import MacState
from deploy.hosts.state import HostState, System
from deploy.services.host_service import data_directory
from deploy.services.launchd import DAEMONS
from deploy.spec.host import deployment_directory

PLACE = r"""
place() {
  at=$2
  until [ -d "$at/" ]; do
    [ "$1" != directory ] || [ ! -e "$at" ] || echo "blocked $at"
    up=${at%/*}; [ "$up" != "$at" ] || up=; at=$up
  done
  may=no; [ ! -w "$at/" ] || may=yes
  df -kP "$at/" 2>/dev/null | awk -v name="$1" -v may="$may" 'NR == 2 {
    mount = $6; for (i = 7; i <= NF; i++) mount = mount " " $i
    printf "%s %s rw %s %.0f - - %s\n", name, may, $1, $4 * 1024, mount }'
}
""".strip()
"""Prints a line about the file system of a place, as ``parse_places`` reads it."""
SOCKETS = (
    "netstat -an -p tcp 2>/dev/null | "
    'awk \'$6 == "LISTEN" { n = split($4, part, "."); print part[n] }\''
)
"""Shell: the TCP ports that somebody listens on."""


class MacHost(FactBase[HostState]):
    """Memory, disk, ports, clock and operating system of a Mac, which runs no containers."""

    def command(
        self, deployment: str, directory: str, files: Collection[str] = (), **_: str
    ) -> str:
        """Print sections.

        Args:
            deployment: name of the deployment.
            directory: where files are put on the host; it need not exist yet.
            files: files whose sizes are wanted.
            _: what other hosts are asked for, too.
        """
        both = " ".join(shlex.quote(name) for path in files for name in (path, f"{path}.part"))
        own = str(deployment_directory(PurePosixPath(directory), deployment))
        return "; ".join(
            [
                f"export LC_ALL=C\n{PLACE}",
                "echo '@version'; sw_vers -productVersion 2>/dev/null",
                "echo '@kernel'; uname -sm",
                "echo '@uid'; id -u",
                "echo '@memory'; sysctl -n hw.memsize 2>/dev/null",
                "echo '@places'",
                f"place directory {shlex.quote(directory)}",
                f"place volumes {shlex.quote(str(data_directory(deployment)))}",
                'place temporary "${TMPDIR:-/tmp}"',
                f"echo '@sizes'; stat -L -f '%z %N' -- {both} 2>/dev/null" if both else "true",
                f"echo '@ports'; {SOCKETS}",
                f"echo '@own_holds'; {look_at_holds(deployment)}",
                look_at_known_secrets(deployment, own),
                "echo '@clock'; date +%s",
                "true",
            ]
        )

    @staticmethod
    def default() -> HostState:
        """A host that did not answer."""
        return HostState()

    def process(self, output: list[str]) -> HostState:
        """Parse the sections."""
        sections = split_sections(output)
        clock, version = first(sections.get("clock")), first(sections.get("version"))
        memory = first(sections.get("memory"), "0")
        return HostState(
            memory_bytes=int(memory) if memory.isdigit() else 0,
            file_systems=parse_places(sections),
            blocked_by=parse_blocked(sections),
            file_sizes=parse_sizes(sections),
            listening_ports=frozenset(
                int(port) for port in sections.get("ports", []) if port.isdigit()
            ),
            own_ports=parse_holds(sections.get("own_holds", [])),
            system=System(
                id="macos" if version else "",
                name=f"macOS {version}" if version else "",
                version=version,
                kernel=first(sections.get("kernel")),
                is_root=first(sections.get("uid")) == "0",
            ),
            clock_seconds=float(clock) if clock else None,
            known_secrets=parse_known_secrets(sections),
        )


class Mac(FactBase[MacState]):
    """A Mac's chip, and the settings that Atelier looks after."""

    def command(self, account: str) -> str:
        """Print sections.

        Args:
            account: name of the account that engines run as.
        """
        settings = "|".join(POWER)
        daemons = "; ".join(
            f"[ ! -f {DAEMONS}/{label}.plist ] || "
            f'echo "{label} $(shasum -a 256 <{DAEMONS}/{label}.plist | cut -d " " -f 1)"'
            for label in LABELS
        )
        loaded = "; ".join(
            f"! launchctl print system/{label} >/dev/null 2>&1 || echo {label}" for label in LABELS
        )
        user = shlex.quote(account)
        return "; ".join(
            [
                "export LC_ALL=C",
                "echo '@chip'; sysctl -n machdep.cpu.brand_string 2>/dev/null",
                "echo '@memory'; sysctl -n hw.memsize 2>/dev/null",
                "echo '@limit'; sysctl -n iogpu.wired_limit_mb 2>/dev/null",
                "echo '@power'; pmset -g custom 2>/dev/null | "
                f"sed -n '/^AC Power:/,$p' | awk '$1 ~ /^({settings})$/ {{ print $1, $2 }}'",
                f"echo '@daemons'; {daemons}",
                f"echo '@loaded'; {loaded}",
                f"echo '@accounts'; ! id -u {user} >/dev/null 2>&1 || echo {user}",
                "echo '@filevault'; fdesetup status 2>/dev/null",
                "true",
            ]
        )

    @staticmethod
    def default() -> MacState:
        """A host that did not answer."""
        return MacState()

    def process(self, output: list[str]) -> MacState:
        """Parse the sections."""
        sections = split_sections(output)
        limit, memory = first(sections.get("limit")), first(sections.get("memory"))
        return MacState(
            chip=first(sections.get("chip")),
            memory_bytes=int(memory) if memory.isdigit() else 0,
            wired_limit_mib=int(limit) if limit.isdigit() else None,
            power=_pairs(sections.get("power", [])),
            daemons=_pairs(sections.get("daemons", [])),
            loaded=frozenset(sections.get("loaded", [])),
            accounts=frozenset(sections.get("accounts", [])),
            has_filevault=first(sections.get("filevault")).startswith("FileVault is On"),
        )


def _pairs(rows: list[str]) -> dict[str, str]:
    return dict(row.split(" ", 1) for row in rows if " " in row)
