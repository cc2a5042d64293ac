"""What Docker on a host has beside containers and images."""

from __future__ import annotations

from pyinfra.api import FactBase

from deploy.services.container import LABEL_DEPLOYMENT

ASK_ENGINE = "command -v docker >/dev/null 2>&1 && docker version >/dev/null 2>&1"
REMEMBER_ENGINE = (
    f"if {ASK_ENGINE}; then ATELIER_DOCKER=yes; else ATELIER_DOCKER=no; fi; export ATELIER_DOCKER"
)
"""Shell: ask Docker once for all questions of a look."""
ENGINE_ANSWERS = (
    f'case "${{ATELIER_DOCKER:-}}" in yes) true ;; no) false ;; *) {ASK_ENGINE} ;; esac'
)
"""Shell condition: there is a Docker, and it answers."""
UNLESS_ENGINE = f"{{ {ENGINE_ANSWERS}; }} || exit 0"
"""A host without Docker has nothing: in a dry run it is still to be installed or started."""
OWNER = f'{{{{.Label "{LABEL_DEPLOYMENT}"}}}}'


class Resources(FactBase[dict[str, str]]):
    """Deployments that the networks and volumes belong to, by ``<kind> <name>``.

    Empty of those that are not Atelier's.
    """

    def command(self) -> str:
        """Print a row for each network and volume."""
        return "; ".join(
            [
                UNLESS_ENGINE,
                f"docker network ls --format 'network {{{{.Name}}}} {OWNER}' || exit 1",
                f"docker volume ls --format 'volume {{{{.Name}}}} {OWNER}' || exit 1",
            ]
        )

    @staticmethod
    def default() -> dict[str, str]:
        """Nothing."""
        return {}

    def process(self, output: list[str]) -> dict[str, str]:
        """Parse the rows."""
        rows = [line.split() for line in output if line.startswith(("network ", "volume "))]
        return {" ".join(row[:2]): row[2] if len(row) > 2 else "" for row in rows}
