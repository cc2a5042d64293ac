"""What those who send requests on a host were told: the engines' keys, and who gets none."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from pyinfra.api import FactBase

from deploy.facts.sections import split_sections
from deploy.services.routes import DRAINING, ENGINE_KEYS


@dataclass(frozen=True)
class RoutingState:
    """What routers and the entry of a host were told."""

    keys: tuple[str, ...] = ()
    """SHA-256 of each key that routers try, the first one first."""
    draining: tuple[str, ...] = ()
    """Paths of the files that keep requests away from a unit; left by a run that was killed."""


class Routing(FactBase[RoutingState]):
    """What routers and the entry of a host were told."""

    def command(self, directory: str) -> str:
        """Print sections; the keys stay in the shell, of which only digests are printed.

        Args:
            directory: directory of what services read whenever it changes.
        """
        live, keys = shlex.quote(directory), shlex.quote(f"{directory}/litellm/{ENGINE_KEYS}")
        return (
            f"echo '@keys'; if [ -f {keys} ]; then while IFS= read -r key; do"
            f" printf %s \"$key\" | sha256sum; done <{keys}; fi; echo '@draining';"
            f" [ ! -d {live} ] || find {live} -path '*/{DRAINING}/*' -type f ! -name '.*'"
        )

    @staticmethod
    def default() -> RoutingState:
        """A host that was told nothing."""
        return RoutingState()

    def process(self, output: list[str]) -> RoutingState:
        """Parse the sections."""
        sections = split_sections(output)
        return RoutingState(
            keys=tuple(row.split()[0] for row in sections.get("keys", [])),
            draining=tuple(sorted(sections.get("draining", []))),
        )
