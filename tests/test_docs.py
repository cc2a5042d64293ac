"""What the documents say can be followed: links, commands and inventories."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import deploy
from deploy.cli.main import app

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
BLOCK = re.compile(r"```.*?```", re.DOTALL)
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
COMMAND = re.compile(r"\batelier ([a-z]+(?: [^\n`|;'\"]+)?)")
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


def _commands(path: Path) -> Iterator[tuple[str, set[str]]]:
    """Commands in a document, and the options that they have."""
    group: Any = get_command(app)
    for line in COMMAND.findall(path.read_text(encoding="utf-8")):
        words, command = line.split(" #")[0].split(), group
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        if command is not group:
            yield " ".join(words), {name for option in command.params for name in option.opts}


@pytest.mark.parametrize("path", DOCUMENTS, ids=_named)
def test_options_of_commands_exist(path: Path) -> None:
    for words, options in _commands(path):
        assert {*re.findall(r"(?<!\S)--[a-z-]+", words)} <= {*options, "--help"}, words


@pytest.mark.parametrize("path", DOCUMENTS, ids=_named)
def test_inventories_are_valid(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "inventories")
    for code in PYTHON.findall(path.read_text(encoding="utf-8")):
        for what, filled in LEFT_OUT.items():
            code = code.replace(what, filled)  # noqa: PLW2901
        names = {name: getattr(deploy, name) for name in deploy.__all__}
        exec(code, names | {"__file__": "lab.py", "pyinfra_hosts": lambda *_: [], "MAC": MAC})  # noqa: S102
