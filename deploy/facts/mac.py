"""A Mac: what other hosts are asked with Linux's tools, asked with those of BSD and macOS.

sysctl(8), sw_vers(1), pmset(1), launchctl(1), netstat(1), df(1), stat(1) of macOS.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection

from pyinfra.api import FactBase

from deploy.facts.common import look_at_common, parse_common
from deploy.facts.memory import look_at_memory, parse_memory
from deploy.facts.places import look_at_places, look_at_sizes
from deploy.facts.sections import first, split_sections
from deploy.facts.services import parse_holds
from deploy.hosts.mac.setup import LABELS, POWER
from deploy.hosts.mac.state import MacState
from deploy.hosts.state import HostState, System
from deploy.services.host_service import data_directory
from deploy.services.launchd import DAEMONS

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
        return "; ".join(
            [
                "export LC_ALL=C",
                "echo '@version'; sw_vers -productVersion 2>/dev/null",
                "echo '@kernel'; uname -sm",
                "echo '@uid'; id -u",
                look_at_memory(),
                *look_at_places(
                    directory=shlex.quote(directory),
                    volumes=shlex.quote(str(data_directory(deployment))),
                ),
                look_at_sizes(files),
                f"echo '@ports'; {SOCKETS}",
                *look_at_common(deployment, directory),
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
        version = first(sections.get("version"))
        return HostState(
            memory_bytes=parse_memory(sections),
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
            **parse_common(sections),
        )


class Mac(FactBase[MacState]):
    """A Mac's chip, and the settings that Atelier looks after."""

    def command(self, account: str, haproxy: str) -> str:
        """Print sections.

        Args:
            account: name of the account that engines run as.
            haproxy: path of HAProxy, which need not be there.
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
                look_at_memory(),
                "echo '@limit'; sysctl -n iogpu.wired_limit_mb 2>/dev/null",
                "echo '@power'; pmset -g custom 2>/dev/null | "
                f"sed -n '/^AC Power:/,$p' | awk '$1 ~ /^({settings})$/ {{ print $1, $2 }}'",
                f"echo '@daemons'; {daemons}",
                f"echo '@loaded'; {loaded}",
                f"echo '@accounts'; ! id -u {user} >/dev/null 2>&1 || echo {user}",
                f"echo '@haproxy'; sudo -n -u {user} {shlex.quote(haproxy)} -v 2>/dev/null",
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
        limit = first(sections.get("limit"))
        return MacState(
            chip=first(sections.get("chip")),
            memory_bytes=parse_memory(sections),
            wired_limit_mib=int(limit) if limit.isdigit() else None,
            power=_pairs(sections.get("power", [])),
            daemons=_pairs(sections.get("daemons", [])),
            loaded=frozenset(sections.get("loaded", [])),
            accounts=frozenset(sections.get("accounts", [])),
            haproxy=first(sections.get("haproxy")),
            has_filevault=first(sections.get("filevault")).startswith("FileVault is On"),
        )


def _pairs(rows: list[str]) -> dict[str, str]:
    return dict(row.split(" ", 1) for row in rows if " " in row)
