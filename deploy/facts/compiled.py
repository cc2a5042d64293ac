"""What engines of a host have compiled, and what kind of machine that is for."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pyinfra.api import FactBase

from deploy.changes.compiled import Machine
from deploy.facts.sections import first, split_sections


@dataclass(frozen=True)
class CompiledState:
    """A machine, and the sizes of what was compiled on it."""

    machine: Machine
    sizes: Mapping[str, int]
    """Bytes by container."""


class Compiled(FactBase[CompiledState]):
    """Architecture and CPU features of a host, and how much its containers have compiled."""

    def command(self, containers: Iterable[tuple[str, str]]) -> str:
        """Print sections.

        Args:
            containers: names of those that run, and the directory in each.
        """
        sizes = [
            f"echo {shlex.quote(name)} $(docker exec {shlex.quote(name)} "
            f"du -sk {shlex.quote(path)} 2>/dev/null | cut -f 1)"
            for name, path in containers
        ]
        return "; ".join(
            [
                "echo '@architecture'; uname -m",
                # "flags" of x86, "Features" of ARM
                "echo '@features'; sed -n 's/^[fF][^:]*[sS][[:space:]]*: //p' /proc/cpuinfo"
                " | head -n 1",
                "echo '@sizes'",
                *sizes,
            ]
        )

    @staticmethod
    def default() -> CompiledState:
        """A machine of which nothing is known."""
        return CompiledState(Machine("", frozenset()), {})

    def process(self, output: list[str]) -> CompiledState:
        """Parse the sections; containers that cannot be asked are left out."""
        sections = split_sections(output)
        machine = Machine(
            first(sections.get("architecture")), frozenset(first(sections.get("features")).split())
        )
        rows = [line.split() for line in sections.get("sizes", [])]
        return CompiledState(machine, {row[0]: int(row[1]) * 1024 for row in rows if row[1:]})
