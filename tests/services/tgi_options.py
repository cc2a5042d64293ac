"""The options of ``text-generation-launcher``, as TGI's own source declares them.

``tgi_options.json`` is a record of them, as the launcher is a program in Rust. It was written by
this file as a program, from ``launcher/src/main.rs`` of the tag v3.3.7 of
https://github.com/huggingface/text-generation-inference, kept somewhere outside of the repository:

    python tests/services/tgi_options.py 3.3.7 /tmp/main.rs

Clap makes an option of each field of ``struct Args``, with hyphens in the place of underscores: of
a ``bool`` one without a value, of others one with a value, of an ``enum`` one of its variants.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

RECORD = Path(__file__).with_name("tgi_options.json")
ARGUMENTS = re.compile(r"^struct Args \{\n(.*?)^\}", re.M | re.S)
FIELD = re.compile(r"^    (\w+): ([\w<>]+),$", re.M)
ENUM = re.compile(r"^(?:pub )?enum (\w+) \{\n(.*?)^\}", re.M | re.S)
VARIANT = re.compile(r"^(?:    #\[clap\(name = \"([^\"]+)\"\)\]\n)?    (\w+),$", re.M)
INNER = re.compile(r"^(?:Option|Vec)<(\w+)>$")
NUMBERS = {"usize": "int", "u16": "int", "u32": "int", "u64": "int", "f32": "float"}
TYPES: dict[str, type[int] | type[float] | type[str]] = {"int": int, "float": float}


def recorded_version() -> str:
    """The version that was recorded."""
    return str(json.loads(RECORD.read_text())["version"])


def recorded_parser() -> argparse.ArgumentParser:
    """A parser that takes what the launcher takes; without abbreviations."""
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
    for option in json.loads(RECORD.read_text())["options"]:
        if option["action"] == "flag":
            parser.add_argument(option["name"], action="store_true")
        else:
            kind = TYPES.get(option["type"], str)
            parser.add_argument(option["name"], choices=option["choices"], type=kind)
    return parser


def _kebab(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()


def _options(source: str) -> list[dict[str, Any]]:
    enums = {
        name: [said or _kebab(variant) for said, variant in VARIANT.findall(body)]
        for name, body in ENUM.findall(source)
    }
    body = ARGUMENTS.search(source)
    if body is None:
        raise SystemExit("this is not the launcher's source")
    options = []
    for name, declared in FIELD.findall(body[1]):
        wrapped = INNER.match(declared)
        kind = wrapped[1] if wrapped else declared
        choices = ["true", "false"] if wrapped and kind == "bool" else enums.get(kind)
        options.append(
            {
                "name": f"--{name.replace('_', '-')}",
                "action": "flag" if declared == "bool" else "value",
                "type": NUMBERS.get(kind, "str"),
                "choices": choices,
            }
        )
    return options


def _record(version: str, source: str) -> None:
    lines = ",\n".join("    " + json.dumps(each) for each in _options(source))
    url = f"https://github.com/huggingface/text-generation-inference/blob/v{version}/launcher/src/main.rs"
    head = json.dumps({"version": version, "source": url})[1:-1]
    RECORD.write_text(f'{{\n  {head},\n  "options": [\n{lines}\n  ]\n}}\n')


if __name__ == "__main__":
    _record(sys.argv[1], Path(sys.argv[2]).read_text())
