"""Several answers of a host in one round trip."""

from __future__ import annotations


def split_sections(output: list[str]) -> dict[str, list[str]]:
    """Lines by the ``@section`` line above them; empty lines are dropped."""
    sections: dict[str, list[str]] = {}
    current: list[str] = []
    for line in output:
        if line.startswith("@"):
            current = sections.setdefault(line[1:], [])
        elif line.strip():
            current.append(line)
    return sections


def first(lines: list[str] | None, default: str = "") -> str:
    """The first line, stripped."""
    return lines[0].strip() if lines else default
