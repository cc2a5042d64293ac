"""YAML that operators write: what is wrong with it is told with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from deploy.errors import InventoryFileError, Problem

SETTINGS = "a mapping of settings"
FIXES = {
    r"'\t'": "indent with spaces, not with tabs",
    "cannot start any token": "put what begins with this character in quotes",
    "undefined alias": "put what begins with * in quotes",
    "constructor for the tag": "leave out what begins with !",
    "another document": "leave out the line ---: a file has one deployment",
    "mapping values": "put text with a colon and a space in it in quotes, and begin all settings of"
    " one mapping in the same column",
    "<block end>": "begin all settings of one mapping in the same column",
    "<document start>": "begin all settings of one mapping in the same column",
    "end of stream": "close what is open: a quote, a [ or a {",
    "more than once": "leave out all but one",
}
"""What to do, by a part of what the parser of YAML says."""


class UniqueKeysLoader(yaml.SafeLoader):
    """Refuses a setting that is there twice, of which YAML's own loader drops the first."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """The mapping, if each of its keys is there once.

        Raises:
            ComposerError: if one is there again.
        """
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen:
                found = f"{name} is there more than once"
                raise yaml.composer.ComposerError(None, None, found, key.start_mark)
            seen.add(name)
        return node


def parse_yaml(text: str, path: Path, allowed: str) -> Any:
    """What a YAML file holds.

    Args:
        text: what is in it.
        path: what the error names.
        allowed: what may be in it, for the error.

    Raises:
        InventoryFileError: if it is not YAML, or has a key twice.
    """
    try:
        return yaml.load(text, Loader=UniqueKeysLoader)  # noqa: S506 - a safe one
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        found = f"not YAML: {error.problem}"
        fix = next((fix for part, fix in FIXES.items() if part in str(error.problem)), "")
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # the last two: of dates such as 2026-02-30, of numbers without an end, of lists in lists
        where, found, fix = "", f"not YAML: {error}", ""
    raise InventoryFileError(Problem(f"{path}{where}", found, allowed, fix))


def read_settings(path: Path) -> dict[str, Any]:
    """What a file declares.

    Raises:
        InventoryFileError: if it cannot be read as a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise InventoryFileError(
            Problem(str(path), f"cannot be read: {reason}", "a YAML file")
        ) from None
    data = parse_yaml(text, path, SETTINGS)
    if not isinstance(data, dict):
        found = "an empty file" if data is None else f"a {type(data).__name__}"
        raise InventoryFileError(Problem(str(path), found, SETTINGS))
    return data
