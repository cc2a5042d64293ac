"""Names that the catalogue does not have."""

from __future__ import annotations

import difflib

from deploy.errors import Problem


def unknown(path: str, found: str, allowed: list[str], or_else: str = "") -> Problem:
    """The problem, with the nearest name there is."""
    matches = difflib.get_close_matches(found, allowed, n=1)
    fix = f"did you mean {matches[0]!r}?" if matches else ""
    return Problem(path, repr(found), ", ".join(sorted(allowed)) + or_else, fix)
