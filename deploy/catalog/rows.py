"""Many rows of which few are asked for: each is read when it is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic

from deploy.catalog.entry import DIRECTORY, EntryType, parse_entries
from deploy.errors import CatalogError, Problem

NAME = re.compile(r"^([^\s#:][^:]*):", re.MULTILINE)
"""What a row begins with, at the beginning of a line."""
ALIAS = re.compile(r": \*\w")
"""Where a row has a value of another row of its file (https://yaml.org/spec/1.2.2/#71-alias-nodes)."""


@dataclass(frozen=True)
class _Place:
    """Where a row stands."""

    filename: str
    text: str
    """What must be read to have it."""


class Rows(Mapping[str, EntryType], Generic[EntryType]):
    """The rows of catalogue files, by name.

    Args:
        filenames: below the catalogue's directory.
        entry: what each row says.

    Raises:
        CatalogError: if there are two rows of a name; when a row is asked for, if it is not valid.
    """

    def __init__(self, filenames: Iterable[str], entry: type[EntryType]) -> None:
        self._entry = entry
        self._places: dict[str, _Place] = {}
        self._read: dict[str, EntryType] = {}
        for filename in filenames:
            for name, place in _places(filename):
                if name in self._places:
                    problem = Problem(f"catalog/{filename}", f"a second row {name}", "one")
                    raise CatalogError(problem)
                self._places[name] = place

    def __getitem__(self, name: str) -> EntryType:
        if name not in self._read:
            place = self._places[name]
            self._read |= parse_entries(place.filename, place.text, self._entry)
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _places(filename: str) -> Iterator[tuple[str, _Place]]:
    text = (DIRECTORY / filename).read_text(encoding="utf-8")
    names = list(NAME.finditer(text))
    ends = [*(name.start() for name in names[1:]), len(text)]
    for name, end in zip(names, ends, strict=True):
        row = text[name.start() : end]
        yield name[1], _Place(filename, text if ALIAS.search(row) else row)
