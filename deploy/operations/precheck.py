"""Whether a host can be deployed to, before anything on it is touched."""

from __future__ import annotations

import time
from collections.abc import Iterator

from pyinfra import host
from pyinfra.api import operation

from deploy.catalog import load_catalog
from deploy.errors import HostError
from deploy.facts import look
from deploy.facts.data_files import DataFiles
from deploy.facts.docker import Docker
from deploy.facts.engine import Resources
from deploy.facts.gpus import Gpus
from deploy.facts.host import Host
from deploy.hosts.checks import host_findings
from deploy.hosts.data_checks import stranded, unreadable
from deploy.hosts.finding import Finding, problems
from deploy.hosts.gpu_checks import gpu_findings
from deploy.hosts.room import Need
from deploy.hosts.subject import Subject
from deploy.operations import known_secrets
from deploy.operations.commands import Commands, refuse
from deploy.operations.hub import weights_findings
from deploy.operations.questions import data_question, host_question
from deploy.secrets import SecretStore


@operation()
def passed(deployment: str, subject: Subject, secrets: SecretStore) -> Commands:
    """Docker answers or can be installed, everything fits, secrets are the same.

    Args:
        deployment: name of the deployment.
        subject: the host as declared.
        secrets: the secrets of this machine.
    """
    refused = refusal(deployment, subject, secrets)
    if refused:
        yield from refuse(refused)


def refusal(deployment: str, subject: Subject, secrets: SecretStore) -> str:
    """Why the current host cannot be deployed to; empty if it can.

    Args:
        deployment: name of the deployment.
        subject: the host as declared.
        secrets: the secrets of this machine.
    """
    seen = list(findings(deployment, subject, secrets, gpus=bool(subject.spec.gpus)))
    owners = look.ask(Resources)
    found = problems([*seen, *stranded(subject.elsewhere, owners, deployment)])
    found += known_secrets.disagreements(deployment, secrets)
    return f"{host.name} cannot be deployed to\n{HostError(*found)}" if found else ""


def findings(
    deployment: str, subject: Subject, secrets: SecretStore, *, gpus: bool
) -> Iterator[Finding]:
    """What the host is like, as ``atelier doctor`` shows it and a deployment acts on it.

    Args:
        deployment: name of the deployment.
        subject: the host as declared.
        secrets: the secrets of this machine.
        gpus: whether its GPUs are looked at.
    """
    found = look.ask(Host, **host_question(deployment, subject))
    known_secrets.remember(found.known_secrets)
    docker = look.ask(Docker) if found.engine_version is None else None
    weights = list(weights_findings(subject, secrets))
    needs = [each for each in weights if isinstance(each, Need)]
    yield from host_findings(subject, found, docker, time.time(), needs)
    if data := data_question(subject):
        written: dict[str, str] = look.ask(DataFiles, **data)
        yield from unreadable(subject.units, written)
    yield from (each for each in weights if isinstance(each, Finding))
    if gpus:
        catalog = load_catalog()
        names = {unit.image_name for unit in subject.units}
        cuda = {name: catalog.images[name].cuda for name in names if catalog.images[name].cuda}
        yield from gpu_findings(subject.spec, look.ask(Gpus), catalog, cuda)
