"""Whether a host can be deployed to, before anything on it is touched."""

from __future__ import annotations

import time
from collections.abc import Iterator

from pyinfra import host
from pyinfra.api import operation

from deploy.catalog import load_catalog
from deploy.errors import HostError
from deploy.facts.daemon import ROOT
from deploy.facts.docker import Docker
from deploy.facts.gpus import Gpus
from deploy.facts.host import Host
from deploy.hosts.checks import host_findings
from deploy.hosts.finding import Finding, problems
from deploy.hosts.gpu_checks import gpu_findings
from deploy.hosts.subject import Subject
from deploy.operations.commands import Commands, refuse


@operation()
def passed(deployment: str, subject: Subject) -> Commands:
    """The container engine answers or can be installed, and everything fits."""
    found = problems(list(findings(deployment, subject, gpus=bool(subject.spec.gpus))))
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
    found = host.get_fact(
        Host,
        deployment=deployment,
        directory=directory,
        files=subject.paths,
        docker_root=str(subject.spec.docker_settings.get("data-root", ROOT)),
        volumes=subject.volumes,
    )
    docker = host.get_fact(Docker) if found.engine_version is None else None
    yield from host_findings(subject, found, docker, time.time())
    if gpus:
        catalog = load_catalog()
        names = {component.image_name for component in subject.components}
        cuda = {name: catalog.images[name].cuda for name in names if catalog.images[name].cuda}
        yield from gpu_findings(subject.spec, host.get_fact(Gpus), catalog, cuda)
