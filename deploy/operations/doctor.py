"""A look at a host that changes nothing; what it finds is appended to a file."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from pyinfra import host, state
from pyinfra.api import operation

from deploy.facts.renewal import CertificateRenewal
from deploy.facts.surroundings import Surroundings
from deploy.facts.units import Units
from deploy.hosts.certificate_checks import issued_findings
from deploy.hosts.finding import FINDINGS_FILE, Finding
from deploy.hosts.subject import Subject
from deploy.hosts.surroundings import surroundings_findings
from deploy.operations.commands import Commands
from deploy.operations.hub import moved_findings
from deploy.operations.precheck import findings
from deploy.secrets import SecretStore
from deploy.services import Tier
from deploy.services.certbot import REPORT
from deploy.services.gpu_access import LOST, cards_of


@operation()
def examined(
    deployment: str, subject: Subject, urls: tuple[str, ...], secrets: SecretStore
) -> Commands:
    """Everything that is to be known of the host is written down.

    Args:
        deployment: name of the deployment.
        subject: the host as declared.
        urls: where the registries and authorities are that it needs.
        secrets: the secrets of this machine.
    """
    if not state.is_executing:
        record(findings(deployment, subject, secrets, gpus=True))
        record(moved_findings(subject.weights, secrets))
        record(_without_gpu(deployment, subject))
        names = subject.issued_for
        found = host.get_fact(Surroundings, urls=urls, names=names)
        record(surroundings_findings(found, names, subject.authority_url))
        record(_certificate(subject))
    return
    yield


def _without_gpu(deployment: str, subject: Subject) -> Iterator[Finding]:
    """Containers that may not open their cards any more."""
    names = tuple(
        unit.name
        for unit in subject.units
        if unit.runs.kind == "container" and cards_of(unit.container)
    )
    if not names:
        return
    directory = str(subject.directory)
    found = host.get_fact(Units, deployment=deployment, directory=directory, names=names, stores=())
    for name in names:
        live = found.containers.get(name)
        if live and live.health_said == LOST:
            yield Finding(
                "GPU containers",
                "warning",
                f"{name}: {LOST}",
                "containers that keep their cards: gpu_runtime='cdi'",
                "deploy: that restarts it; and declare gpu_runtime='cdi' for the host",
            )


def _certificate(subject: Subject) -> Iterator[Finding]:
    """What came of having the entry's certificate issued, where an authority does that."""
    for unit in subject.units:
        if unit.tier == Tier.CERTIFICATE:
            renewal = host.get_fact(CertificateRenewal, container=unit.name, path=str(REPORT))
            yield from issued_findings(renewal, time.time())


def record(found: Iterable[Finding]) -> None:
    """Append findings to the file, if there is one."""
    path = os.environ.get(FINDINGS_FILE)
    if not path:
        return
    with Path(path).open("a", encoding="utf-8") as file:
        for finding in found:
            file.write(json.dumps({"host": host.name} | asdict(finding)) + "\n")
