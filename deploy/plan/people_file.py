"""The file of people: CSV with a line for each, or YAML with a list."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from deploy.errors import InventoryFileError, Problem, SpecError
from deploy.spec import PersonSpec
from deploy.spec.validation import validate
from deploy.yaml_file import parse_yaml

LISTS = {"models"}
DELIMITERS = ",;\t"
"""What separates columns: spreadsheets write the second one where a comma is in numbers."""
NO_LIMIT = "none"
"""In a cell: no limit; an empty cell is the default."""
WORDS = {"yes": True, "no": False}


def read_people_file(path: Path) -> tuple[PersonSpec, ...]:
    """The people of a file, in its order.

    Raises:
        InventoryFileError: if it cannot be read.
        SpecError: with one problem per invalid setting.
    """
    rows = _yaml_rows(path) if path.suffix in {".yaml", ".yml"} else _csv_rows(path)
    people: list[PersonSpec] = []
    problems: list[Problem] = []
    for where, row in rows:
        try:
            people.append(validate(PersonSpec, row, f"{path.name}, {where}"))
        except SpecError as error:
            problems += error.problems
    if problems:
        raise SpecError(*problems)
    return tuple(people)


def _csv_rows(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Columns are the settings of a person; models are separated by spaces or semicolons."""
    lines = _read(path).splitlines()
    if not lines:
        # an export that failed would take everybody's key away
        found = f"{path} is empty"
        raise InventoryFileError(Problem("people_file", found, "a line with the names of columns"))
    delimiter = next((each for each in DELIMITERS if each in lines[0]), DELIMITERS[0])
    reader = csv.DictReader(lines, restkey="more cells than columns", delimiter=delimiter)
    try:
        return _settings_of_rows(reader)
    except csv.Error as error:
        found = f"{path}, line {reader.line_num}: {error}"
        raise InventoryFileError(Problem("people_file", found, "a CSV or YAML file")) from None


def _settings_of_rows(reader: csv.DictReader[str]) -> list[tuple[str, dict[str, Any]]]:
    rows = []
    for row in reader:
        settings = {
            name.strip(): _cell(name.strip(), cell)
            for name, cell in row.items()
            if cell is not None and (not isinstance(cell, str) or cell.strip())
        }
        if settings:
            rows.append((f"line {reader.line_num}", settings))
    return rows


def _cell(name: str, cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    text = cell.strip()
    if text.lower() == NO_LIMIT:
        return None
    if name in LISTS:
        return text.replace(";", " ").split()
    return WORDS.get(text.lower(), text)


def _yaml_rows(path: Path) -> list[tuple[str, dict[str, Any]]]:
    data = parse_yaml(_read(path), path, "a list of people")
    if not isinstance(data, list):
        found = "an empty file" if data is None else f"a {type(data).__name__}"
        raise InventoryFileError(Problem(str(path), found, "a list of people"))
    return [(f"person {number}", row) for number, row in enumerate(data, 1)]


def _read(path: Path) -> str:
    try:
        # spreadsheets begin a file with a mark of its encoding
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise InventoryFileError(
            Problem("people_file", f"cannot read {path}: {reason}", "a CSV or YAML file")
        ) from None
