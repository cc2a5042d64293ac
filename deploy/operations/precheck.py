"""Whether a host can be deployed to, before anything on it is touched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date

from pyinfra import host, state
from pyinfra.api import operation

from deploy.catalog import load_catalog
from deploy.errors import HostError
from deploy.facts import look
from deploy.facts.data_files import DataFiles
from deploy.facts.docker import Docker
from deploy.facts.drivers import Drivers
from deploy.facts.engine import Resources
from deploy.facts.gpus import Gpus
from deploy.facts.mac import Mac
from deploy.hosts.cdi import wants_cdi
from deploy.hosts.checks import host_findings
from deploy.hosts.data_checks import stranded, unreadable
from deploy.hosts.drivers.checks import all_gpu_findings
from deploy.hosts.finding import Finding, problems
from deploy.hosts.login_checks import login_findings
from deploy.hosts.mac.checks import mac_findings
from deploy.hosts.room import Need
from deploy.hosts.shared_directories import place_on_server, shared_findings
from deploy.hosts.state import HostState
from deploy.hosts.subject import Subject
from deploy.operations import known_secrets
from deploy.operations.commands import Commands, not_deployable, refuse
from deploy.operations.hub import weights_findings
from deploy.operations.logins import login_answers
from deploy.operations.questions import data_question, host_fact, host_question, mac_question
from deploy.secrets import SecretStore
from deploy.services import Unit
from deploy.spec import HostSpec

PLACE = "atelier_place_on_server"
"""Where it is kept where a host's directory is on a file server, in what pyinfra keeps of it."""


@operation()
def passed(
    deployment: str,
    subject: Subject,
    secrets: SecretStore,
    meanwhile: Callable[[], None] | None = None,
) -> Commands:
    """Docker answers or can be installed, everything fits, secrets are the same.

    Args:
        deployment: name of the deployment.
        subject: the host as declared.
        secrets: the secrets of this machine.
        meanwhile: begins what goes on while the host is looked at; not in a dry run.
    """
    if meanwhile and state.is_executing:
        meanwhile()
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
    seen = list(findings(deployment, subject, secrets, gpus=subject.has_gpus))
    owners = look.ask(Resources)
    left = stranded(subject.elsewhere, owners, deployment, subject.main_router)
    found = problems([*seen, *left])
    found += known_secrets.disagreements(deployment, secrets)
    return not_deployable(HostError(*found)) if found else ""


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
    found = look.ask(host_fact(subject.spec), **host_question(deployment, subject))
    known_secrets.remember(found.known_secrets)
    wants = found.engine_version is None or wants_cdi(subject.units)
    docker = look.ask(Docker) if wants and not subject.spec.is_mac else None
    weights = list(weights_findings(subject, secrets))
    needs = [each for each in weights if isinstance(each, Need)]
    now = look.moment_of(found.clock_seconds)
    yield from host_findings(subject, found, docker, now, needs)
    yield from _shared(subject.spec, found)
    if subject.web_ui:
        yield from login_findings(subject.web_ui, login_answers(subject, secrets))
    if data := data_question(subject):
        written: dict[str, str] = look.ask(DataFiles, **data)
        yield from unreadable(subject.units, written)
    yield from (each for each in weights if isinstance(each, Finding))
    if subject.spec.is_mac:
        mac = look.ask(Mac, **mac_question(subject.spec))
        yield from mac_findings(subject, found, mac, load_catalog())
    elif gpus:
        catalog = load_catalog()
        cuda = cuda_of(subject.units)
        today = date.today().isoformat()
        seen = (look.ask(Gpus), look.ask(Drivers))
        yield from all_gpu_findings(subject.spec, *seen, cuda, catalog, today)


def _shared(spec: HostSpec, found: HostState) -> Iterator[Finding]:
    """Whether a host that was looked at before keeps its files in the same directory."""
    system = found.file_systems.get("directory")
    host.connector_data[PLACE] = place_on_server(spec, system)
    others = {
        other.name: other.connector_data.get(PLACE, "")
        for other in state.inventory
        if other.name != host.name
    }
    yield from shared_findings(spec, system, others)


def cuda_of(units: Iterable[Unit]) -> dict[str, str]:
    """CUDA version that images of the catalogue are made for, of those that have one."""
    catalog = load_catalog()
    names = {unit.image_name for unit in units if unit.image_name}
    return {name: catalog.images[name].cuda for name in names if catalog.images[name].cuda}
