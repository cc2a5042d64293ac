"""Docker on a host: installed, configured, running, or none of it."""

from __future__ import annotations

import base64
import json

from pyinfra.api import FactBase

from deploy.facts.engine import ENGINE
from deploy.facts.sections import first, split_sections
from deploy.facts.system import SYSTEM_SECTIONS, parse_system
from deploy.hosts.daemon_settings import DAEMON_JSON
from deploy.hosts.docker_setup import INSTALLED_MARK, LOADED_JSON
from deploy.hosts.state import DockerState


class Docker(FactBase[DockerState]):
    """The daemon, its unit and its daemon.json."""

    def command(self) -> str:
        """Print sections."""
        return "; ".join(
            [
                f"{ENGINE}\n:",
                *SYSTEM_SECTIONS,
                "PATH=$PATH:/usr/sbin:/usr/local/bin",
                "echo '@dockerd'; command -v dockerd",
                # podman does not know Docker's fields
                "echo '@podman'; [ -n \"${atelier_info%%|*}\" ] || "
                "docker --version 2>/dev/null | grep -i podman",
                "echo '@info'; printf '%s\\n' \"${atelier_info#*|*|}\"",
                "echo '@enabled'; systemctl is-enabled docker.service 2>/dev/null",
                f"echo '@installed_by_atelier'; cat {INSTALLED_MARK} 2>/dev/null",
                f"echo '@daemon_json'; [ ! -f {DAEMON_JSON} ] || base64 -w0 {DAEMON_JSON}; echo",
                f"echo '@has_daemon_json'; [ ! -f {DAEMON_JSON} ] || echo yes",
                "started=$(stat -c %Y /run/docker.pid /var/run/docker.pid 2>/dev/null | head -n 1)",
                f"echo '@loaded_json'; [ ! -f {LOADED_JSON} ] || "
                f'[ "$(stat -c %Y {LOADED_JSON})" -lt "${{started:-0}}" ] || '
                f"{{ base64 -w0 {LOADED_JSON}; echo; }}",
                "true",
            ]
        )

    @staticmethod
    def default() -> DockerState:
        """A host that did not answer."""
        return DockerState()

    def process(self, output: list[str]) -> DockerState:
        """Parse the sections."""
        sections = split_sections(output)
        info = _info(sections.get("info", []))
        return DockerState(
            system=parse_system(sections),
            is_installed=bool(sections.get("dockerd")),
            is_podman=bool(sections.get("podman")),
            answers=bool(info.get("version")),
            version=info.get("version") or "",
            unit_is_enabled=first(sections.get("enabled")) == "enabled",
            installed_by_atelier=bool(sections.get("installed_by_atelier")),
            is_swarm=info.get("swarm") == "active",
            running_containers=int(info.get("running", 0)),
            daemon_json=_text(sections, "daemon_json") if sections.get("has_daemon_json") else None,
            loaded_json=_text(sections, "loaded_json") if sections.get("loaded_json") else None,
        )


def _info(lines: list[str]) -> dict[str, str]:
    try:
        return dict(json.loads(first(lines, "{}")))
    except ValueError:
        return {}


def _text(sections: dict[str, list[str]], name: str) -> str:
    return base64.b64decode(first(sections.get(name))).decode("utf-8", "replace")
