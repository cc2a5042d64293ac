"""From the declared deployment to what runs where, or to why it cannot be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from deploy.catalog import Catalog
from deploy.errors import AtelierError, PlanError, Problem
from deploy.licence import licence_problems
from deploy.model_files import ModelFile, Sources
from deploy.plan.aristote import aristote_problems, aristote_warnings
from deploy.plan.deployment_plan import DeploymentPlan, ModelPlan
from deploy.plan.entry import entry_plan, entry_problems
from deploy.plan.host_gpus import gpus_of, host_plan, host_problems, takes_gpus
from deploy.plan.links import link_problems, link_warnings, links_plan
from deploy.plan.mac import mac_problems
from deploy.plan.make_claims import make_claim
from deploy.plan.model_plans import Outcome, model_plan
from deploy.plan.native import native_problems, with_native
from deploy.plan.on_cpu import cpu_hosts
from deploy.plan.people import people_plan
from deploy.plan.placement import Claim, Gpus, Placement, Seat, Sizer, place
from deploy.plan.ports import port_problems, with_ports
from deploy.plan.refusals import (
    backend_problems,
    engine_path,
    placement_problems,
    share_problems,
    split_problems,
)
from deploy.plan.replica_plan import ReplicaPlan
from deploy.plan.replicas import cpu_replica, gpu_replica, with_one_length
from deploy.plan.router import router_problems
from deploy.plan.routers import router_plans, side_by_side_problems, side_by_side_warnings
from deploy.plan.shared import as_shared, each_seated, groups_of, to_place, with_one_limit
from deploy.plan.shared_refusals import shared_problems, tag_problems
from deploy.plan.stores import postgres_plan, store_problems, valkey_plan
from deploy.plan.unknown import unknown
from deploy.plan.vllm_on_cpu import cpu_problems
from deploy.plan.warnings import warnings
from deploy.plan.web_ui import web_ui_plan, web_ui_problems, web_ui_warnings
from deploy.plan.wide import nothing_left, place_wide, wide_cpu_problems, wide_problems
from deploy.spec import DeploymentSpec
from deploy.spec.engine_kinds import ENGINES


def make_plan(
    spec: DeploymentSpec,
    catalog: Catalog,
    model_files: Mapping[str, ModelFile],
    directory: Path = Path(),
) -> DeploymentPlan:
    """Work out what runs where.

    Args:
        spec: the declared deployment.
        catalog: what is known of models, images and GPUs.
        model_files: the file of each model that has one, by its name.
        directory: what the paths of ``config`` and ``people_file`` are relative to.

    Raises:
        PlanError: with one problem per thing that cannot be carried out.
    """
    sources = Sources(catalog, model_files, directory)
    claims, outcome = _seated(spec, sources)
    found = with_one_limit(with_one_length(_replicas(spec, claims, outcome, sources)))
    replicas = tuple(with_ports(with_native(found, spec), spec))
    roles = {claim.name: claim.roles for claim in claims}
    routers = router_plans(spec, roles)
    people, people_problems = people_plan(spec, directory)
    _raise(
        [
            *tag_problems(claims, replicas),
            *_service_problems(spec, replicas),
            *side_by_side_problems(spec, routers, roles),
            *router_problems(spec, routers),
            *aristote_problems(spec, replicas, routers),
            *people_problems,
        ]
    )
    models = tuple(_models(claims, replicas, outcome))
    count = len(people.people) if people else 0
    host_plans = tuple(host_plan(host, catalog) for host in spec.hosts)
    return DeploymentPlan(
        name=spec.name,
        replicas=replicas,
        routers=routers,
        web_ui=web_ui_plan(spec, count, catalog),
        postgres=postgres_plan(spec),
        valkey=valkey_plan(spec),
        entry=entry_plan(spec),
        links=links_plan(spec, replicas),
        people=people,
        hosts=host_plans,
        models=models,
        users=spec.users,
        use=spec.use,
        warnings=(
            *warnings(spec, claims, host_plans, models, replicas, outcome, catalog),
            *link_warnings(spec, replicas),
            *web_ui_warnings(spec, replicas, count, catalog),
            *side_by_side_warnings(routers, people),
            *aristote_warnings(spec, replicas, models, routers),
        ),
    )


def _service_problems(spec: DeploymentSpec, replicas: tuple[ReplicaPlan, ...]) -> Iterator[Problem]:
    """Why what is declared of hosts and services cannot be, with the replicas where they lie."""
    yield from mac_problems(spec, replicas)
    yield from native_problems(spec, replicas)
    yield from wide_problems(spec, replicas)
    yield from port_problems(spec, replicas)
    yield from link_problems(spec, replicas)
    yield from web_ui_problems(spec)
    yield from store_problems(spec)
    yield from entry_problems(spec)


def _seated(spec: DeploymentSpec, sources: Sources) -> tuple[tuple[Claim, ...], Outcome]:
    """What every model claims, and the GPUs that its replicas get.

    Raises:
        PlanError: if one cannot be served, or they do not fit together.
    """
    declared = _claims(spec, sources)
    _raise(shared_problems(declared))
    hosts = tuple(gpus_of(host, sources.catalog) for host in spec.hosts if host.gpus)
    sizer = Sizer()
    _raise(_gpu_problems(declared, _on_gpus(declared, spec), hosts))
    claims = as_shared(declared, spec.context_tokens)
    on_gpus = _on_gpus(claims, spec)
    whole = tuple(host for host in hosts if not any(each.instance for each in host.devices))
    wide, problems = place_wide([c for c in on_gpus if c.engine.nnodes > 1], whole, sizer)
    _raise([*problems, *wide_cpu_problems(spec, claims, on_gpus)])
    taken = {name for seat in wide for name in (seat.host, *seat.other_hosts)}
    free = tuple(host for host in hosts if host.host not in taken)
    narrow = to_place(claim for claim in on_gpus if claim.engine.nnodes == 1)
    if not free:
        _raise([nothing_left(claim, taken) for claim in narrow])
    placement = place(narrow, free, sizer) if narrow else Placement(None, None)
    if narrow and placement.chosen is None:
        _raise(placement_problems(list(narrow), list(free), sizer))
    seated = each_seated(placement, free, sizer)
    return claims, Outcome(seated, hosts, sizer, spec.users, wide)


def _claims(spec: DeploymentSpec, sources: Sources) -> tuple[Claim, ...]:
    problems = [*host_problems(spec, sources.catalog)]
    claims = []
    for index in range(len(spec.models)):
        try:
            claims.append(make_claim(spec, index, sources))
        except AtelierError as error:
            problems += error.problems
    for name in spec.images:
        if name not in sources.catalog.images:
            problems.append(unknown(f"images.{name}", name, list(sources.catalog.images)))
    problems += licence_problems(spec, sources.catalog)
    _raise(problems)
    return tuple(claims)


def _on_gpus(claims: tuple[Claim, ...], spec: DeploymentSpec) -> tuple[Claim, ...]:
    return tuple(claim for claim in claims if takes_gpus(claim.engine, spec))


def _gpu_problems(
    claims: tuple[Claim, ...], on_gpus: tuple[Claim, ...], hosts: tuple[Gpus, ...]
) -> Iterator[Problem]:
    for claim in on_gpus:
        if claim.declared is None:
            found = f"how much memory {claim.name} takes on GPUs is not known from its file"
            fix = "declare config with its config.json, or engine kind llama_cpp with"
            fix += " n_gpu_layers=0 to serve it on CPUs"
            yield Problem(f"{claim.path}.config", found, fix=fix)
    for claim in claims:
        if claim not in on_gpus and claim.model.gpus is not None:
            found = f"{claim.name} runs on the CPU"
            fix = "remove gpus, or n_gpu_layers of the engine" if hosts else "remove gpus"
            yield Problem(f"{claim.path}.gpus", found, "models on GPUs", fix)
    yield from share_problems(list(on_gpus), list(hosts))
    yield from split_problems(list(claims), list(hosts))
    yield from backend_problems(list(claims), list(hosts))
    if not hosts:
        yield from (problem for claim in claims for problem in _cpu_problems(claim))


def _cpu_problems(claim: Claim) -> Iterator[Problem]:
    """Why an engine cannot serve a model on CPUs; how it is split is looked at before."""
    traits = claim.engine.traits
    if not traits.on_cpus:
        found = f"{claim.engine.kind}, which Atelier runs on GPUs only, and no host has any"
        fix = "declare gpus of a host, or another engine for the model"
        yield Problem(f"{engine_path(claim)}.kind", found, _on_cpus(), fix)
    elif claim.engine.kind == "vllm" and not any(split_problems([claim], [])):
        yield from cpu_problems(claim)


def _on_cpus() -> str:
    return ", ".join(kind for kind, traits in ENGINES.items() if traits.on_cpus)


def _replicas(
    spec: DeploymentSpec, claims: tuple[Claim, ...], outcome: Outcome, sources: Sources
) -> Iterator[ReplicaPlan]:
    """Replicas in the order of declaration; numbered by model."""
    numbers: Counter[tuple[str, str]] = Counter()
    places: dict[str, list[tuple[str, ...]]] = {}
    on_cpus = 0
    for claim in claims:
        key = (claim.engine.kind, claim.model.name)
        seats = outcome.seats(claim)
        for seat in sorted(seats, key=lambda seat: (_position(spec, seat), seat.gpus)):
            host = next(each for each in outcome.hosts if each.host == seat.host)
            yield gpu_replica(seat, numbers[key], host, sources)
            numbers[key] += 1
        if seats:
            continue
        shared = claim.engine.shared
        if shared not in places:
            places[shared or claim.path] = cpu_hosts(spec, claim, on_cpus)
            on_cpus += sum(map(len, places[shared or claim.path]))
        for on in places[shared or claim.path]:
            yield cpu_replica(claim, on, numbers[key], sources)
            numbers[key] += 1


def _models(
    claims: tuple[Claim, ...], replicas: tuple[ReplicaPlan, ...], outcome: Outcome
) -> Iterator[ModelPlan]:
    groups = groups_of(claims)
    for claim in claims:
        own = tuple(replica for replica in replicas if replica.served_model_name == claim.name)
        group = groups.get(claim.engine.shared or "", ())
        others = tuple(other.name for other in group if other is not claim)
        yield model_plan(claim, own, outcome, others)


def _position(spec: DeploymentSpec, seat: Seat) -> int:
    return [host.name for host in spec.hosts].index(seat.host)


def _raise(problems: Iterator[Problem] | list[Problem]) -> None:
    found = tuple(problems)
    if found:
        raise PlanError(*found)
