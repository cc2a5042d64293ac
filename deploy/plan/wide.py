"""Replicas on several hosts: they share the layers out, and a host's GPUs share each layer.

vLLM's own way, without Ray: https://docs.vllm.ai/en/latest/serving/parallelism_scaling/. Its ranks
go through a host's GPUs first: tensor_parallel_size is within a host, pipeline_parallel_size over
all of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from ipaddress import IPv4Address

from deploy.errors import Problem
from deploy.plan.placement import Claim, Gpus, Seat, Sizer
from deploy.plan.placement.claim import Split
from deploy.plan.refusals import engine_path
from deploy.plan.replica_plan import ReplicaPlan
from deploy.sizing import Device, Sizing
from deploy.sizing.choose import split_sizes
from deploy.sizing.reasons_text import INVENTORY, cause_text
from deploy.sizing.splits import legal_splits
from deploy.spec import DeploymentSpec

Placed = tuple[tuple[Seat, ...], list[Problem]]


def place_wide(claims: Sequence[Claim], hosts: Sequence[Gpus], sizer: Sizer) -> Placed:
    """Replicas on several hosts each, and why some cannot be placed.

    A model gets the first hosts, as declared, that are alike and that it fits on; all of each host.
    """
    free, seats, problems = list(hosts), [], []
    for claim in claims:
        refused = list(_shape_problems(claim, free))
        found = [] if refused else _seats(claim, free, sizer)
        problems += refused or ([] if found else [_does_not_fit(claim, free, sizer)])
        seats += found
        taken = {name for seat in found for name in (seat.host, *seat.other_hosts)}
        free = [host for host in free if host.host not in taken]
    return tuple(seats), problems


def splits_over(claim: Claim, nodes: int, gpus: int) -> list[Split]:
    """The splits of one replica over hosts: the same of each, and no layer over two of them.

    Those with the fewest stages come first: a pipeline answers each user more slowly.

    Args:
        claim: the model.
        nodes: how many hosts.
        gpus: how many each has; a declared split may use fewer.
    """
    assert claim.declared is not None  # noqa: S101 - claims on GPUs are known to sizing
    model, engine = claim.declared.architecture, claim.engine
    tp, pp = engine.tensor_parallel_size, engine.pipeline_parallel_size
    whole = engine.enable_expert_parallel
    legal = legal_splits(engine.kind, model, model.quantization, whole_experts=whole)
    sizes = [tp] if tp else [size for size in reversed(split_sizes(gpus)) if size in legal]
    ways = ((size, pp or nodes * (gpus // size)) for size in sizes)
    return [
        (tensor, stages)
        for tensor, stages in ways
        if 0 < stages <= len(model.layers)
        and stages % nodes == 0
        and tensor * stages // nodes <= gpus
    ]


def wide_cpu_problems(
    spec: DeploymentSpec, claims: Sequence[Claim], on_gpus: Sequence[Claim]
) -> Iterator[Problem]:
    """Why a model cannot lie on several hosts without GPUs."""
    wide = [c for c in claims if c.engine.nnodes > 1 and c not in on_gpus]
    names = [host.name for host in spec.hosts]
    for claim in wide:
        path, nodes = engine_path(claim), claim.engine.nnodes
        needed = nodes * (claim.model.replicas or 1)
        if needed > len(names):
            found = f"{nodes} hosts for each replica of {claim.name}: {needed} in all"
            fix = "declare more hosts, or fewer nnodes"
            yield Problem(f"{path}.nnodes", found, f"at most {len(names)}, all that there are", fix)
        stages = claim.engine.pipeline_parallel_size
        if stages and stages % nodes:
            yield _stages_problem(claim)
        if (claim.engine.cpu_omp_threads_bind or "auto") not in {"auto", "nobind"}:
            found = f"{claim.engine.cpu_omp_threads_bind!r} of a replica on {nodes} hosts"
            yield Problem(f"{path}.cpu_omp_threads_bind", found, "'auto' or 'nobind'")


def wide_problems(spec: DeploymentSpec, replicas: Sequence[ReplicaPlan]) -> Iterator[Problem]:
    """Hosts that the others of a replica do not reach, and ports that are taken."""
    wide = [replica for replica in replicas if replica.other_hosts]
    ports = Counter((r.host, port) for r in replicas for port in (r.port, r.master_port) if port)
    for replica in wide:
        if ports[replica.host, replica.master_port or 0] > 1:
            found = f"{replica.master_port}, which another engine has on {replica.host}"
            yield Problem("engine.master_port", found, fix="declare another one")
    needed = {host for replica in wide for host in replica.hosts}
    for index, host in enumerate(spec.hosts):
        address = host.address or ("" if host.is_local else host.name)
        if host.name in needed and not _is_reachable(address):
            yield Problem(
                f"hosts[{index}].address",
                f"{address!r}" if address else "not set",
                "an IPv4 address of this host, in the network that it shares with the other hosts"
                " of a replica",
                "declare address",
            )


def nothing_left(claim: Claim, taken: Collection[str]) -> Problem:
    """Why another model finds no GPU."""
    found = f"no GPU is left for {claim.name}: replicas on several hosts have all GPUs of theirs"
    fix = f"declare another host; those are {', '.join(sorted(taken))}"
    return Problem(f"{claim.path}.name", found, fix=fix)


def wide_warnings(replicas: Sequence[ReplicaPlan]) -> Iterator[str]:
    """What is true of a replica on several hosts."""
    wide = {each.served_model_name: each for each in replicas if each.other_hosts}
    for model, replica in wide.items():
        yield (
            f"{model}: each replica lies on {len(replica.hosts)} hosts, which must reach each other"
            " on every TCP port, and no one else may: what they say to each other has no key and no"
            " encryption"
        )
        yield (
            f"{model}: speeds are those of GPUs in one host; the link between the hosts, which is"
            " not known, bounds them, above all while a prompt is read"
        )
        yield (
            f"{model}: when one of its hosts stops, or changes, the whole replica stops, and loads"
            " its weights again"
        )


def _is_reachable(text: str) -> bool:
    try:
        address = IPv4Address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified)


def _alike(hosts: Sequence[Gpus], nodes: int) -> Iterator[list[Gpus]]:
    """Hosts with the same cards, all of one kind, where there are enough of them."""
    kinds: defaultdict[tuple[Device, ...], list[Gpus]] = defaultdict(list)
    for host in hosts:
        kinds[host.devices].append(host)
    for devices, own in kinds.items():
        if len(set(devices)) == 1 and len(own) >= nodes:
            yield own


def _splittable(claim: Claim, hosts: Sequence[Gpus]) -> Iterator[list[Gpus]]:
    """Those that the model can be split over."""
    nodes = claim.engine.nnodes
    for own in _alike(hosts, nodes * (claim.model.replicas or 1)):
        if splits_over(claim, nodes, len(own[0].devices)):
            yield own


def _seats(claim: Claim, hosts: Sequence[Gpus], sizer: Sizer) -> list[Seat]:
    nodes, count = claim.engine.nnodes, claim.model.replicas or 1
    for own in _splittable(claim, hosts):
        best = _best(claim, own[0], sizer)
        if best.fits:
            local = best.tensor_parallel_size * best.pipeline_parallel_size // nodes
            groups = [own[start : start + nodes] for start in range(0, nodes * count, nodes)]
            return [_seat(claim, group, local, best) for group in groups]
    return []


def _seat(claim: Claim, group: Sequence[Gpus], local: int, sizing: Sizing) -> Seat:
    first, *others = (host.host for host in group)
    gpus = tuple(range(local))
    return Seat(claim, first, gpus, claim.utilization, sizing, other_hosts=tuple(others))


def _best(claim: Claim, host: Gpus, sizer: Sizer) -> Sizing:
    """With the most GPUs for each layer, so the fewest stages; the first of all if none fits."""
    splits = splits_over(claim, claim.engine.nnodes, len(host.devices))
    device, share = host.devices[0], claim.utilization
    sizings = (sizer.replica(claim, device, split, share) for split in splits)
    fitting = next((sizing for sizing in sizings if sizing.fits), None)
    return fitting or sizer.replica(claim, device, splits[0], share)


def _shape_problems(claim: Claim, hosts: Sequence[Gpus]) -> Iterator[Problem]:
    """What does not depend on memory."""
    path, nodes = engine_path(claim), claim.engine.nnodes
    needed = nodes * (claim.model.replicas or 1)
    if claim.model.gpus is not None:
        found = f"{claim.model.gpus:g}: {claim.name} has {nodes} hosts for itself"
        yield Problem(f"{claim.path}.gpus", found, "models on one host", "remove gpus, or nnodes")
    if not any(_alike(hosts, needed)):
        found = f"{needed} hosts for {claim.name}, {nodes} for each replica"
        most = max(Counter(host.devices for host in hosts).values(), default=0)
        allowed = f"at most {most}, hosts with the same GPUs of one kind that are free"
        yield Problem(f"{path}.nnodes", found, allowed, "declare more hosts that are alike")
    elif not any(_splittable(claim, hosts)):
        yield _stages_problem(claim)


def _stages_problem(claim: Claim) -> Problem:
    engine, nodes = claim.engine, claim.engine.nnodes
    split = f"{engine.tensor_parallel_size or 1} x {engine.pipeline_parallel_size or nodes}"
    return Problem(
        f"{engine_path(claim)}.pipeline_parallel_size",
        f"{split} GPUs of {claim.name} over {nodes} hosts",
        f"a multiple of {nodes}, at most the number of layers, and tensor_parallel_size x"
        f" pipeline_parallel_size / {nodes} at most the GPUs of one host",
        "leave both out: the best is found",
    )


def _does_not_fit(claim: Claim, hosts: Sequence[Gpus], sizer: Sizer) -> Problem:
    nodes = claim.engine.nnodes
    own = next(_splittable(claim, hosts))
    causes = "; ".join(cause_text(why, INVENTORY) for why in _best(claim, own[0], sizer).reasons)
    gpus = f"{nodes} hosts with {len(own[0].devices)}x {own[0].devices[0].name}"
    found = f"{claim.name} does not fit on {gpus}: {causes or 'no arrangement of it is legal'}"
    fix = "declare more hosts and nnodes, smaller weights, or a shorter context"
    return Problem(f"{claim.path}.name", found, fix=fix)
