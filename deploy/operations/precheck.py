"""Whether a host can be deployed to, before anything on it is touched."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator

from pyinfra import host
from pyinfra.api import operation

from deploy.catalog import load_catalog
from deploy.errors import HostError
from deploy.facts.docker import Docker
from deploy.facts.gpus import Gpus
from deploy.facts.host import Host
from deploy.hosts.checks import Subject, host_findings
from deploy.hosts.finding import Finding, problems
from deploy.hosts.gpu_checks import gpu_findings
from deploy.images import ImageNeed, image_need
from deploy.images.archive import familiar
from deploy.operations import known_secrets
from deploy.operations.commands import Commands, refuse
from deploy.secrets import SecretStore


@operation()
def passed(deployment: str, subject: Subject, secrets: SecretStore) -> Commands:
    """The container engine answers or can be installed, everything fits, secrets are the same.

    Args:
        deployment: name of the deployment.
        subject: the host as declared.
        secrets: the secrets of this machine.
    """
    found = problems(list(findings(deployment, subject, gpus=bool(subject.spec.gpus))))
    found += known_secrets.disagreements(deployment, secrets)
    if found:
        yield from refuse(f"{host.name} cannot be deployed to\n{HostError(*found)}")


def findings(deployment: str, subject: Subject, *, gpus: bool) -> Iterator[Finding]:
    """What the host is like, as ``atelier doctor`` shows it and a deployment acts on it.

    Args:
        deployment: name of the deployment.
        subject: the host as declared.
        gpus: whether its GPUs are looked at.
    """
    directory = str(subject.spec.directory)
    found = host.get_fact(Host, deployment=deployment, directory=directory)
    known_secrets.remember(found.known_secrets)
    docker = host.get_fact(Docker) if found.engine_version is None else None
    needs = list(_needs(subject, found.images))
    yield from host_findings(subject, found, docker, time.time(), needs)
    if gpus:
        catalog = load_catalog()
        names = {component.image_name for component in subject.components}
        cuda = {name: catalog.images[name].cuda for name in names if catalog.images[name].cuda}
        yield from gpu_findings(subject.spec, host.get_fact(Gpus), catalog, cuda)


def _needs(subject: Subject, there: Collection[str]) -> Iterator[ImageNeed]:
    """Room for the images that the host does not have."""
    for use in subject.images:
        if familiar(use.image.reference) not in there:
            need = image_need(use, is_local=subject.spec.is_local)
            if need:
                yield need
