"""The options of ``sglang serve``, as SGLang's own parser has them.

``sglang_options.json`` is a record of them, as the parser needs PyTorch to be imported. It was
written by this file as a program, from the wheel of that version on PyPI, unpacked somewhere
outside of the repository, in an environment with nothing but msgspec (Python 3.11):

    pip download --no-deps sglang==0.5.21 && unzip sglang-*.whl -d /tmp/sglang
    python tests/services/sglang_options.py 0.5.21 /tmp/sglang

Upstream's modules of arguments are imported as they are; in the place of all others, which are
not needed to build the parser, come empty ones.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from abc import ABCMeta
from collections.abc import Iterator
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

RECORD = Path(__file__).with_name("sglang_options.json")
OWN = (
    "sglang.srt.arg_groups",
    "sglang.srt.server_args",
    "sglang.srt.function_call.parser_names",
    "sglang.srt.parser.reasoning_parser_names",
)
"""What is imported of the wheel."""
TYPES: dict[str, type[int] | type[float] | type[str]] = {"int": int, "float": float}


def recorded_version() -> str:
    """The version that was recorded."""
    return str(json.loads(RECORD.read_text())["version"])


def recorded_parser() -> argparse.ArgumentParser:
    """A parser that takes what SGLang's takes; without abbreviations."""
    parser = argparse.ArgumentParser(prog="sglang serve", allow_abbrev=False, exit_on_error=False)
    for names, option in _options():
        if option["action"] == "flag":
            parser.add_argument(*names, action="store_true")
        else:
            kind = TYPES.get(option["type"], str)
            choices = option["choices"] and [kind(each) for each in option["choices"]]
            parser.add_argument(*names, nargs=option["nargs"], choices=choices, type=kind)
    return parser


def _options() -> list[tuple[list[str], dict[str, Any]]]:
    return [(each["names"], each) for each in json.loads(RECORD.read_text())["options"]]


class Anything(ABCMeta):
    """The type of what stands for everything that is not imported."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Nothing

    def __iter__(cls) -> Iterator[Any]:
        return iter(())

    def __bool__(cls) -> bool:
        return False

    def __add__(cls, other: Any) -> Any:
        return other

    __radd__ = __add__


class Nothing(metaclass=Anything):
    """Whatever is called, imported or inherited from it is nothing again."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return Nothing


class Empty(ModuleType):
    """A module in which everything is found, and is nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Nothing


class Finder(MetaPathFinder, Loader):
    """Finds an empty module for each that is not upstream's own, or Python's."""

    def __init__(self, wheel: Path) -> None:
        self.wheel = wheel

    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        top = name.partition(".")[0]
        is_own = any(name == own or name.startswith(f"{own}.") for own in OWN)
        if is_own or top == "msgspec" or top in sys.stdlib_module_names:
            return None
        return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return Empty(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        holds_own = any(own.startswith(f"{name}.") for own in OWN)
        module.__path__ = [str(self.wheel / name.replace(".", "/"))] if holds_own else []


def _import_parser(wheel: Path) -> argparse.ArgumentParser:
    """Upstream's own parser, of an unpacked wheel."""
    sys.meta_path.insert(0, Finder(wheel))
    arguments = importlib.import_module("sglang.srt.server_args").ServerArgs
    parser = argparse.ArgumentParser()
    arguments.add_cli_args(parser)
    return parser


def _record(version: str, wheel: Path) -> None:
    options: list[dict[str, Any]] = []
    for action in _import_parser(wheel)._actions:
        choices = None if action.choices is None else [str(each) for each in action.choices]
        options.append(
            {
                "names": list(action.option_strings),
                "action": "flag" if action.nargs == 0 else "value",
                "nargs": action.nargs or None,
                # of lists of names that come from compiled modules nothing is known
                "choices": choices or None,
                "type": getattr(action.type, "__name__", "str"),
            }
        )
    known = [each for each in options if each["names"] and "--help" not in each["names"]]
    lines = ",\n".join("    " + json.dumps(each) for each in known)
    source = f"the wheel sglang {version}"
    head = json.dumps({"version": version, "source": source})[1:-1]
    RECORD.write_text(f'{{\n  {head},\n  "options": [\n{lines}\n  ]\n}}\n')


if __name__ == "__main__":
    _record(sys.argv[1], Path(sys.argv[2]))
