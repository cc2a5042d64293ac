"""Drivers of GPUs come before Docker, which looks for them when it starts."""

from pyinfra import host, state

from deploy.artefacts import Artefacts
from deploy.catalog import load_catalog
from deploy.hosts.drivers.turns import Turn, tried_on
from deploy.operations import driver, proof
from deploy.operations.precheck import cuda_of
from deploy.operations.questions import is_proven


def install(deployment: Artefacts) -> None:
    """Install drivers where they are declared; restart hosts that need it, one after the other.

    A driver that replaces one which serves is tried on one host before the others of its kind: if
    anything fails there, the run ends, and they go on with what they have.
    """
    managed = [each for each in deployment.spec.hosts if each.driver]
    running = {each.name for each in state.active_hosts}
    first = tried_on(managed, load_catalog(), running)
    _install(deployment, first, "first")
    _set_up(deployment)
    _restart(deployment, first, "first")
    if any(name != other for name, other in first.items()):
        _install(deployment, first, "then")
        _restart(deployment, first, "then")


def _install(deployment: Artefacts, first: dict[str, str], turn: Turn) -> None:
    spec = deployment.host(host.name)
    if spec.driver:
        driver.installed(
            name=f"Install GPU drivers{_after(turn)}",
            spec=spec,
            cuda=cuda_of(deployment.stack.on(spec.name)),
            first=first[spec.name],
            turn=turn,
        )


def _set_up(deployment: Artefacts) -> None:
    for spec in host.loop([e for e in deployment.spec.hosts if e.gpus and not e.is_mac]):
        if spec.name == host.name:
            driver.gpus_set_up(
                name=f"Set up the GPUs of {spec.name}", spec=spec, artefacts=deployment
            )


def _restart(deployment: Artefacts, first: dict[str, str], turn: Turn) -> None:
    for spec in host.loop([each for each in deployment.spec.hosts if each.driver or each.mig]):
        if spec.name == host.name:
            driver.restarted(
                name=f"Restart {spec.name} for its GPUs{_after(turn)}",
                spec=spec,
                artefacts=deployment,
                cuda=cuda_of(deployment.stack.on(spec.name)),
                first=first.get(spec.name, spec.name),
                turn=turn,
            )


def prove(deployment: Artefacts) -> None:
    """Ask a container of each engine's image for the cards, after anything of them changed."""
    if is_proven(deployment, host.name):
        proof.made(
            name="Prove that containers see the cards",
            units=deployment.stack.on(host.name),
            deployment=deployment.plan.name,
            directory=deployment.context.directory(host.name),
        )


def _after(turn: Turn) -> str:
    return "" if turn == "first" else ", after the first of their kind"
