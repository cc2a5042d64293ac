"""Engines, router and web UI: each a container with what it needs."""

from pathlib import PurePosixPath

from pyinfra import host

from deploy.artefacts import Artefacts
from deploy.operations import (
    barrier,
    compiled,
    model_file,
    orphan,
    program,
    replica_changes,
    resource,
    routing,
    units,
    weights,
)
from deploy.operations.questions import sends_requests
from deploy.services import HostModelFile, HostProgram, Tier
from deploy.services.weights import distinct_weights


def prepare(deployment: Artefacts) -> None:
    """Network, volumes, programs, model files and weights."""
    own = deployment.stack.on(host.name)
    if deployment.stack.needs_docker(host.name):
        resource.present(
            name="Create network and volumes",
            network=deployment.plan.name,
            volumes=list(dict.fromkeys(name for unit in own for name in unit.volumes)),
            deployment=deployment.plan.name,
        )
    programs = {unit.program for unit in own if unit.program}
    for wanted_program in host.loop(_programs(deployment)):
        if wanted_program in programs:
            program.present(name=f"Install {wanted_program.title}", program=wanted_program)
    files = {file for unit in own for file in unit.model_files}
    for file in host.loop(_model_files(deployment)):
        if file in files:
            model_file.present(name=f"Copy model file {file.path.name}", file=file)
    wanted = {(each.cache, each.name): each for each in distinct_weights(own)}
    for place, name in host.loop(_weights(deployment)):
        if (place, name) in wanted:
            weights.present(
                name=f"Provide weights {name}",
                weights=wanted[place, name],
                on_host=tuple(wanted.values()),
                secrets=deployment.secrets,
            )
    _carry_compiled(deployment)


def _carry_compiled(deployment: Artefacts) -> None:
    """What engines of other hosts have compiled."""
    if compiled.carries(deployment):
        compiled.carried(
            name="Carry what engines compiled",
            artefacts=deployment,
            found=compiled.offers(deployment),
        )


def converge(deployment: Artefacts) -> None:
    """Run every tier: all hosts at once, and where others serve meanwhile, one after the other.

    What an older plan left behind goes last, when everything else runs.
    """
    if sends_requests(deployment, host.name):
        routing.prepared(name="Prepare routers and entry", artefacts=deployment)
    replicas = replica_changes.decide(deployment)
    turns = units.turns(deployment, replicas)
    for tier in host.loop(deployment.stack.tiers()):
        if any(unit.tier == tier for unit in deployment.stack.on(host.name)):
            units.converged(
                name=f"Run the {tier.plural}",
                artefacts=deployment,
                tier=tier,
                rolling=False if tier in turns else None,
                replicas=replicas,
            )
        for name in host.loop(_taking_turns(deployment, tier)):
            if name == host.name and tier in turns:
                units.converged(
                    name=f"Change the {tier.plural} of {name} while others serve",
                    artefacts=deployment,
                    tier=tier,
                    rolling=True,
                    replicas=replicas,
                )
        barrier.reached(name=f"All {tier.plural} run")
        if tier == Tier.ENGINE and host.name == deployment.plan.router.host:
            routing.settled(name="Forget the engines' old key", artefacts=deployment)
    orphan.removed(
        name="Remove what the plan no longer has", artefacts=deployment, replicas=replicas
    )


def _taking_turns(deployment: Artefacts, tier: Tier) -> list[str]:
    """Hosts that have units of this tier, and share with others what they serve by then."""
    stack = deployment.stack
    sharing = dict.fromkeys(
        unit.host
        for unit in stack.units
        if unit.tier.position <= tier.position and stack.stands_in(unit)
    )
    return [host for host in sharing if any(unit.tier == tier for unit in stack.on(host))]


def _weights(deployment: Artefacts) -> list[tuple[PurePosixPath, str]]:
    """Cache and name of all weights of every host, in an order that all hosts share."""
    every = (each for unit in deployment.stack.units for each in unit.weights)
    return list(dict.fromkeys((each.cache, each.name) for each in every))


def _programs(deployment: Artefacts) -> list[HostProgram]:
    """Every program of every host, in an order that all hosts share."""
    programs = (unit.program for unit in deployment.stack.units)
    return list(dict.fromkeys(program for program in programs if program))


def _model_files(deployment: Artefacts) -> list[HostModelFile]:
    """Every model file of every host, in an order that all hosts share."""
    return list(dict.fromkeys(f for unit in deployment.stack.units for f in unit.model_files))
