"""The options of ``trtllm-serve serve``, and the settings of its file, as its source declares them.

``tensorrt_llm_options.json`` is a record of them, written by hand from upstream's source at the
revision that it names: its wheel is some gigabytes, and what PyPI has is a page that says where
that is. Where releases differ, the record has what the earlier ones had too.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

RECORD = Path(__file__).with_name("tensorrt_llm_options.json")
TYPES: dict[str, type[int] | type[float] | type[str]] = {"int": int, "float": float}
KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
}


def record() -> dict[str, Any]:
    """All of it."""
    loaded: dict[str, Any] = json.loads(RECORD.read_text())
    return loaded


def recorded_parser() -> argparse.ArgumentParser:
    """A parser that takes what the program takes; without abbreviations."""
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
    parser.add_argument("model")
    for option in record()["options"]:
        names = option["names"]
        if option["action"] == "flag":
            parser.add_argument(*names, action="store_true")
        else:
            kind = TYPES.get(option["type"], str)
            parser.add_argument(*names, choices=option["choices"], type=kind)
    return parser


def check_settings(given: dict[str, Any]) -> None:
    """Refuse what the file may not say, as upstream's models forbid what they do not know.

    Raises:
        ValueError: if a setting has no such name, or another type.
    """
    _check("", given, record()["settings"])


def _check(path: str, given: dict[str, Any], known: dict[str, Any]) -> None:
    for name, value in given.items():
        if name not in known:
            raise ValueError(f"{path}{name}: unknown")
        kind = known[name]
        if isinstance(kind, list):
            if value not in kind:
                raise ValueError(f"{path}{name}: {value!r} is none of {kind}")
        elif isinstance(kind, dict):
            if value is not None:
                _check(f"{path}{name}.", value, kind)
        elif type(value) not in KINDS[kind]:
            raise ValueError(f"{path}{name}: {value!r} is not of type {kind}")
