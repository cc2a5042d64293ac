"""Names that the catalogue does not have."""

from __future__ import annotations

import difflib

from deploy.errors import Problem


def unknown(path: str, found: str, known: list[str], allowed: str = "") -> Problem:
    """The problem, with the nearest name there is.

    Args:
        path: the setting.
        found: the name that is not known.
        known: the names that are.
        allowed: what to say instead of listing them, where they are many.
    """
    matches = difflib.get_close_matches(found, known, n=1)
    fix = f"did you mean {matches[0]!r}?" if matches else ""
    return Problem(path, repr(found), allowed or ", ".join(sorted(known)), fix)
