"""Reading catalogue files."""

from __future__ import annotations

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
    try:
        data = yaml.load((DIRECTORY / filename).read_bytes(), Loader=LOADER)  # noqa: S506
        return TypeAdapter(dict[str, entry]).validate_python(data)  # type: ignore[valid-type]
    except (yaml.YAMLError, ValidationError) as error:
        raise CatalogError(Problem(f"catalog/{filename}", str(error))) from None
