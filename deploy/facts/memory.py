"""The memory of a host, as a part of other facts."""

from __future__ import annotations

from deploy.facts.sections import first
from deploy.facts.system import IS_MAC

MEMORY = (
    f"if {IS_MAC}; then sysctl -n hw.memsize; "
    "else awk '/^MemTotal:/ { printf \"%.0f\\n\", $2 * 1024 }' /proc/meminfo; fi 2>/dev/null"
)
"""Shell: prints how many bytes are installed, with each system's tools."""


def look_at_memory() -> str:
    """Shell command that prints the section which parse_memory reads."""
    return f"echo '@memory'; {MEMORY}"


def parse_memory(sections: dict[str, list[str]]) -> int:
    """Bytes installed; 0 where the host does not say."""
    return int(float(first(sections.get("memory"), "0")))
