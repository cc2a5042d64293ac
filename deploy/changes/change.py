"""What an operation changes on a host, as it is announced."""

from __future__ import annotations

from dataclasses import dataclass

ABSENT = "(none)"


@dataclass(frozen=True)
class FieldChange:
    """One value that changes."""

    field: str
    old: str
    """Empty for a reason, which had no value before."""
    new: str


@dataclass(frozen=True)
class Change:
    """One thing on a host that changes."""

    resource: str
    """What it is, e.g. ``container demo-litellm-0``."""
    action: str
    """What happens to it, e.g. ``recreate``."""
    fields: tuple[FieldChange, ...] = ()
    """What is different about it."""
    diff: tuple[str, ...] = ()
    """Lines of a coloured text diff."""
