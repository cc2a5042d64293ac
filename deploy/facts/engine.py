"""What the container engine of a host has beside containers."""

from __future__ import annotations

import json
import shlex

from pyinfra.api import FactBase

ENGINE_ANSWERS = (
    "command -v docker >/dev/null 2>&1 && "
    '{ [ -S /var/run/docker.sock ] || [ -n "$DOCKER_HOST" ] || docker version >/dev/null 2>&1; }'
)
"""Shell condition: there is an engine to ask. The socket comes first, because it is cheap."""
UNLESS_ENGINE = f"{{ {ENGINE_ANSWERS}; }} || exit 0"
"""A host without an engine has nothing: in a dry run it is still to be installed or started."""


class Resources(FactBase[dict[str, dict[str, str]]]):
    """Labels of the networks and volumes there are, by ``<kind> <name>``."""

    def command(self, networks: list[str], volumes: list[str]) -> str:
        """Print one JSON row for each network and volume there is."""
        rows = [self._inspect("network", network) for network in networks]
        rows += [self._inspect("volume", volume) for volume in volumes]
        return "; ".join([UNLESS_ENGINE, *rows, "true"])

    @staticmethod
    def _inspect(kind: str, name: str) -> str:
        template = shlex.quote(f'["{kind} {{{{.Name}}}}",{{{{json .Labels}}}}]')
        return f"docker {kind} inspect --format {template} {shlex.quote(name)} 2>/dev/null"

    @staticmethod
    def default() -> dict[str, dict[str, str]]:
        """Nothing."""
        return {}

    def process(self, output: list[str]) -> dict[str, dict[str, str]]:
        """Parse the rows."""
        rows = [json.loads(line) for line in output if line.startswith("[")]
        return {key: labels or {} for key, labels in rows}
