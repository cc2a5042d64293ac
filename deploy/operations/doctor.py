"""A look at a host that changes nothing; what it finds is appended to a file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from pyinfra import host, state
from pyinfra.api import operation

from deploy.facts.surroundings import Surroundings
from deploy.hosts.finding import FINDINGS_FILE, Finding
from deploy.hosts.subject import Subject
from deploy.hosts.surroundings import surroundings_findings
from deploy.operations.commands import Commands
from deploy.operations.hub import moved_findings
from deploy.operations.precheck import findings
from deploy.secrets import SecretStore


@operation()
def examined(
    deployment: str, subject: Subject, urls: tuple[str, ...], secrets: SecretStore
) -> Commands:
    """Everything that is to be known of the host is written down.

    Args:
        deployment: name of the deployment.
        subject: the host as declared.
        urls: where the registries are that it pulls images from.
        secrets: the secrets of this machine.
    """
    if not state.is_executing:
        record(findings(deployment, subject, secrets, gpus=True))
        record(moved_findings(subject.weights, secrets))
        record(surroundings_findings(host.get_fact(Surroundings, urls=urls)))
    return
    yield


def record(found: Iterable[Finding]) -> None:
    """Append findings to the file, if there is one."""
    path = os.environ.get(FINDINGS_FILE)
    if not path:
        return
    with Path(path).open("a", encoding="utf-8") as file:
        for finding in found:
            file.write(json.dumps({"host": host.name} | asdict(finding)) + "\n")
