"""Beside a failed connection, pyinfra says what to do about it.

pyinfra has no place for this that an inventory could reach: it forgets callbacks when it has read
the inventory. What it logs passes through here.
"""

from __future__ import annotations

import json
import logging
import os
import re
from dataclasses import asdict
from pathlib import Path

from deploy.hosts.connection import explain
from deploy.hosts.finding import FINDINGS_FILE, Finding
from deploy.spec import DeploymentSpec, HostSpec

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
LINE = re.compile(r"\s*\[(?P<host>[^\]]+)\]\s+(?P<message>.*)")
ERRORS = re.compile(
    r"(SSH (host key )?error|Authentication error|Could not connect|Could not resolve hostname"
    r"|EOF error) \("
)
FACT = re.compile(r"(could not (?:load|process) fact: \S+) .*?(?=\x1b\[|$)", re.DOTALL)
"""Of a fact that failed pyinfra prints all arguments: of a look those are pages of shell."""


class Explain(logging.Filter):
    """Adds a line to what is logged about a connection that failed."""

    def __init__(self, spec: DeploymentSpec) -> None:
        super().__init__()
        self._hosts = {host.name: host for host in spec.hosts}

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record through."""
        line = LINE.match(COLOUR.sub("", str(record.msg)))
        host = self._hosts.get(line["host"].removeprefix("@ssh/")) if line else None
        if line and host and ERRORS.match(line["message"]):
            fix = explain(line["message"], host)
            _record(host, line["message"], fix)
            if fix:
                record.msg = f"{record.msg}\n    [{host.name}] fix: {fix}"
        record.msg = FACT.sub(r"\1", record.msg) if isinstance(record.msg, str) else record.msg
        return True


def explain_connection_errors(spec: DeploymentSpec) -> None:
    """Explain from now on, for the hosts of this deployment."""
    logging.getLogger("pyinfra").addFilter(Explain(spec))


def _record(host: HostSpec, message: str, fix: str) -> None:
    path = os.environ.get(FINDINGS_FILE)
    if path:
        finding = Finding("connection", "problem", message, "an SSH server that lets you in", fix)
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"host": host.name} | asdict(finding)) + "\n")
