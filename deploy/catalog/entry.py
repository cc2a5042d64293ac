"""Reading catalogue files."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from deploy.errors import CatalogError, Problem

DIRECTORY = Path(__file__).parent
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The safe loader, the fast one where this Python has it."""
EntryType = TypeVar("EntryType", bound="Entry")


class Entry(BaseModel):
    """One row of a catalogue file."""

    # attribute docstrings are not collected: reading the source costs every command 30 ms
    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")


def load_entries(filename: str, entry: type[EntryType]) -> dict[str, EntryType]:
    """Read a catalogue file of named rows.

    Raises:
        CatalogError: if the file is not a mapping of valid rows.
    """
    text = (DIRECTORY / filename).read_text(encoding="utf-8")
    return parse_entries(filename, text, entry)


def parse_entries(filename: str, text: str, entry: type[EntryType]) -> dict[str, EntryType]:
    """Read what stands in a catalogue file, or in a part of it.

    Raises:
        CatalogError: if it is not a mapping of valid rows.
    """
    try:
        data = yaml.load(text, Loader=LOADER)  # noqa: S506
        rows: dict[str, EntryType] = _adapter(entry).validate_python(data)
    except (yaml.YAMLError, ValidationError) as error:
        raise CatalogError(Problem(f"catalog/{filename}", str(error))) from None
    return rows


@cache
def _adapter(entry: type[Entry]) -> TypeAdapter[Any]:
    return TypeAdapter(dict[str, entry])  # type: ignore[valid-type]
