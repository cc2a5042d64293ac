"""YAML that operators write: what is wrong with it is told with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from deploy.errors import InventoryFileError, Problem


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
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # the last two: of dates such as 2026-02-30, of numbers without an end, of lists in lists
        where, found = "", f"not YAML: {error}"
    raise InventoryFileError(Problem(f"{path}{where}", found, allowed))
