"""What the documents say can be followed: links, commands, inventories; and nothing is left out."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import deploy
from deploy.cli.main import app
from deploy.spec import DeploymentSpec

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
BLOCK = re.compile(r"```.*?```", re.DOTALL)
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
COMMAND = re.compile(r"\batelier ([a-z]+(?: [^\n`|;'\"]+)?)")
CELL_END = re.compile(r"(?<!\\)\|")
ARGUMENT = re.compile(r"[A-Z]+|[\w./-]+\.(py|json|yaml)|[a-z0-9.-]+\d[a-z0-9.-]*")
"""What a verb is given, when a document shows it: a word for it, a file, or a model."""
GUIDE = "\n".join(
    path.read_text(encoding="utf-8") for path in DOCUMENTS if path.name != "CHANGELOG.md"
)
BASE = (
    'name="lab", profile="20-users",'
    ' hosts=[Host(name="gpu1", address="10.0.0.11", gpus="2x l40s")],'
    ' models=[Model(name="qwen2.5-coder-7b"), Model(name="qwen2.5-coder-32b")],'
)
LEFT_OUT = {
    '"mac.lab.example", system="macos", ...,': '"mac.lab.example", system="macos", **MAC,',
    "...,": BASE,
    'sha256="..."': f'sha256="{"0" * 64}"',
    'sha256="e9c8..."': f'sha256="{"0" * 64}"',
    "ssh-ed25519 AAAA...": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBw6yN3zL8pRZ0n1M9oZ8v1Q",
}
"""What readers fill in."""
MAC = {"ssh_user": "atelier", "gpus": "mac-studio-256", "service_user": "_ollama"}


def _named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _anchors(path: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = HEADING.findall(BLOCK.sub("", path.read_text(encoding="utf-8")))
    plain = (LINK.sub("", each).replace("[", "").replace("`", "").lower() for each in headings)
    return {re.sub(r"[^\w\- ]", "", each).strip().replace(" ", "-") for each in plain}


@pytest.mark.parametrize("path", DOCUMENTS, ids=_named)
def test_links_lead_somewhere(path: Path) -> None:
    for link in LINK.findall(path.read_text(encoding="utf-8")):
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = Path(os.path.normpath(path.parent / name)) if name else path
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), link


@pytest.mark.parametrize("path", DOCUMENTS, ids=_named)
def test_tables_are_tables(path: Path) -> None:
    """Rows after an empty line, or with other columns than the head, are shown as text."""
    lines = BLOCK.sub("", path.read_text(encoding="utf-8")).splitlines()
    blocks = itertools.groupby(lines, lambda line: line.lstrip().startswith("|"))
    for head, rule, *rows in (list(block) for is_table, block in blocks if is_table):
        assert set(rule) <= set("|-: "), head
        for row in rows:
            assert len(CELL_END.findall(row)) == len(CELL_END.findall(head)), row


def _commands(path: Path) -> Iterator[tuple[str, Any]]:
    """Commands in a document: what follows the verb, and the verb."""
    group: Any = get_command(app)
    for line in COMMAND.findall(path.read_text(encoding="utf-8")):
        words, command = line.split(" #")[0].split(), group
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        if command is not group:
            yield " ".join(words), command


@pytest.mark.parametrize("path", DOCUMENTS, ids=_named)
def test_options_of_commands_exist(path: Path) -> None:
    for words, command in _commands(path):
        options = {name for option in command.params for name in option.opts}
        assert {*re.findall(r"(?<!\S)--[a-z-]+", words)} <= {*options, "--help"}, words


@pytest.mark.parametrize("path", DOCUMENTS, ids=_named)
def test_commands_take_what_follows_them(path: Path) -> None:
    for words, command in _commands(path):
        takes = sum(param.param_type_name == "argument" for param in command.params)
        given = itertools.takewhile(ARGUMENT.fullmatch, words.split())
        assert takes or not list(given), f"{command.name} {words}"


def _named_settings() -> Iterator[str]:
    schema = DeploymentSpec.model_json_schema()
    for part in (schema, *schema["$defs"].values()):
        yield from part.get("properties", ())


def _verbs(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    yield name, command
    for verb, each in getattr(command, "commands", {}).items():
        yield from _verbs(each, f"{name} {verb}")


def test_every_setting_is_explained() -> None:
    explained = {*re.findall(r"\w+", GUIDE)}
    assert [name for name in _named_settings() if name not in explained] == []


def test_every_verb_and_option_is_explained() -> None:
    explained = {*re.findall(r"--[a-z-]+", GUIDE), "--help"}
    for name, command in _verbs(get_command(app), "atelier"):
        assert name in GUIDE
        options = {option for param in command.params for option in param.opts}
        assert {option for option in options if option.startswith("--")} <= explained, name


@pytest.mark.parametrize("path", DOCUMENTS, ids=_named)
def test_inventories_are_valid(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "inventories")
    for code in PYTHON.findall(path.read_text(encoding="utf-8")):
        for what, filled in LEFT_OUT.items():
            code = code.replace(what, filled)  # noqa: PLW2901
        names = {name: getattr(deploy, name) for name in deploy.__all__}
        exec(code, names | {"__file__": "lab.py", "pyinfra_hosts": lambda *_: [], "MAC": MAC})  # noqa: S102
