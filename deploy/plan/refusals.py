"""Why models cannot be placed: each with numbers and a way out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from deploy.catalog.experts import ExpertSplit
from deploy.errors import Problem
from deploy.plan.placement import Claim, Gpus, Sizer, place
from deploy.plan.placement.pool import Pool, pools
from deploy.sizing import Sizing
from deploy.sizing.reasons import Reason, ReasonKind, RemedyKind, remedy
from deploy.sizing.reasons_text import INVENTORY, cause_text, remedies_text
from deploy.sizing.splits import engine_split_problems, legal_splits, whole_experts_help


def split_problems(claims: list[Claim], hosts: list[Gpus]) -> Iterator[Problem]:
    """Declared splits that are not legal, or larger than any host."""
    most = max((host.most_together for host in hosts), default=0)
    divided = any(each.instance for host in hosts for each in host.devices)
    for claim in claims:
        engine, sizing = claim.engine, claim.declared
        path, parts = engine_path(claim), len(claim.engine.tensor_split)
        here = min(most, claim.gpu_count or most)
        if here < parts:
            found = f"{parts} parts for {claim.name}, one for each GPU of a replica"
            fix = "declare fewer, or remove tensor_split"
            yield Problem(f"{path}.tensor_split", found, f"at most {here}, of one host", fix)
        if sizing is None or not engine.traits.shares_cache:
            continue
        tp, pp = engine.tensor_parallel_size or 1, engine.pipeline_parallel_size or 1
        model, scheme = sizing.architecture, sizing.architecture.quantization
        whole = engine.enable_expert_parallel
        experts = ExpertSplit(1, tp) if whole else ExpertSplit(tp)
        legal = legal_splits(engine.kind, model, scheme, whole_experts=whole)
        problems = engine_split_problems(engine.kind, model, scheme, tp, experts)
        if problems:
            found, sizes = (
                f"{tp} for {claim.name}: {cause_text(problems[0])}",
                ", ".join(map(str, legal)),
            )
            helps = not whole and whole_experts_help(engine.kind, model, scheme, tp)
            way = "declare one of these, or enable_expert_parallel: GPUs then keep whole experts"
            yield Problem(f"{path}.tensor_parallel_size", found, sizes, way if helps else "")
        yield from _stages_problems(claim, len(model.layers), pp)
        if not problems and most and tp * pp > most and engine.nnodes == 1:
            found = f"{tp} x {pp} = {tp * pp} GPUs for one replica of {claim.name}"
            name = "tensor" if tp > 1 else "pipeline"
            fix = "split less, or declare more GPUs in one host"
            if divided:
                fix += "; NCCL does not connect the instances of a GPU that is divided (mig)"
            yield Problem(
                f"{path}.{name}_parallel_size", found, f"at most {most}, of one host", fix
            )


def _stages_problems(claim: Claim, layers: int, pp: int) -> Iterator[Problem]:
    path = f"{engine_path(claim)}.pipeline_parallel_size"
    if pp > layers:
        found = f"{pp} for {claim.name}, which has {layers} layers"
        yield Problem(path, found, f"1 to {layers}")
    elif claim.engine.traits.even_stages and layers % pp:
        found = f"{pp} for {claim.name}, whose {layers} layers it does not divide"
        ways = (str(count) for count in range(1, 17) if not layers % count)
        yield Problem(path, found, ", ".join(ways))


def share_problems(claims: list[Claim], hosts: list[Gpus]) -> Iterator[Problem]:
    """Declared shares and counts of GPUs that no host has."""
    most = max((host.most_together for host in hosts), default=0)
    for claim in claims:
        traits = claim.engine.traits
        if claim.share is not None and not traits.shares_cards:
            found = f"{claim.share:g} of a GPU: {traits.title} has each of its GPUs for itself"
            yield Problem(f"{claim.path}.gpus", found, "a whole number of GPUs", "remove gpus")
        if claim.utilization > traits.most_of_card:
            found = f"{claim.utilization:g}: {traits.title} leaves a tenth of each GPU to graphs"
            setting = f"{engine_path(claim)}.gpu_memory_utilization"
            yield Problem(setting, found, f"at most {traits.most_of_card}")
        if claim.share is not None and claim.share > claim.utilization:
            found = f"{claim.share:g} of a GPU's memory"
            limit = f"at most {claim.utilization:g}, the engine's gpu_memory_utilization"
            yield Problem(f"{claim.path}.gpus", found, limit)
        if most and claim.gpu_count is not None and claim.gpu_count > most:
            found = f"{claim.gpu_count} GPUs of one host"
            fix = "declare fewer, or a share below 1"
            yield Problem(f"{claim.path}.gpus", found, f"at most {most}", fix)


def backend_problems(claims: list[Claim], hosts: list[Gpus]) -> Iterator[Problem]:
    """Vulkan where another backend is the card's own, and where no host has a GPU."""
    others = [(h.host, each.name) for h in hosts for each in h.devices if each.vendor != "amd"]
    for claim in claims:
        if claim.engine.backend != "vulkan" or (hosts and not others):
            continue
        found = "'vulkan'" + (f", and {others[0][0]} has {others[0][1]}" if others else "")
        allowed = "'vulkan' where all GPUs are of AMD"
        yield Problem(f"{engine_path(claim)}.backend", found, allowed, "remove backend")


def placement_problems(claims: list[Claim], hosts: list[Gpus], sizer: Sizer) -> Iterator[Problem]:
    """Why there is no layout: models that fit nowhere, or not together."""
    single = [problem for claim in claims for problem in _alone_problems(claim, hosts, sizer)]
    yield from single or [_together_problem(claims, hosts, sizer)]


def _alone_problems(claim: Claim, hosts: list[Gpus], sizer: Sizer) -> Iterator[Problem]:
    free = replace(claim, model=claim.model.model_copy(update={"replicas": None}))
    if place((free,), hosts, sizer).chosen is None:
        yield _does_not_fit(claim, hosts, sizer)
        return
    if claim.model.replicas and place((claim,), hosts, sizer).chosen is None:
        wanted, most = claim.model.replicas, _most_replicas(claim, hosts, sizer)
        found = f"{wanted} replicas of {claim.name} do not fit on {_gpus(hosts)}"
        fix = "declare fewer replicas, or more GPUs"
        yield Problem(f"{claim.path}.replicas", found, f"at most {most}", fix)


def _most_replicas(claim: Claim, hosts: list[Gpus], sizer: Sizer) -> int:
    """The most replicas that the GPUs hold."""
    for count in range((claim.model.replicas or 1) - 1, 0, -1):
        fewer = replace(claim, model=claim.model.model_copy(update={"replicas": count}))
        if place((fewer,), hosts, sizer).chosen is not None:
            return count
    return 0


def _gpus(hosts: list[Gpus]) -> str:
    count = sum(len(host.devices) for host in hosts)
    return "one GPU" if count == 1 else f"{count} GPUs"


def _does_not_fit(claim: Claim, hosts: list[Gpus], sizer: Sizer) -> Problem:
    pool, sizing = _nearest(claim, hosts, sizer)
    verb = "fit" if sizing.supported else "run"
    share = f" with {claim.share:g} of its memory" if claim.share else ""
    where = f"{claim.name} does not {verb} on {pool.size}x {pool.device.name}{share}"
    if not sizing.reasons:
        return Problem(f"{claim.path}.name", f"{where}: no arrangement of it is legal")
    first = sizing.reasons[0]
    fix = remedies_text(_for_share(first) if claim.share else first, INVENTORY)
    if first.kind is ReasonKind.CONTEXT_TOO_LONG:
        found, allowed = f"{claim.context_tokens} for {claim.name}", first.figures["longest"]
        return Problem("context_tokens", found, f"at most {allowed} tokens", fix)
    causes = "; ".join(cause_text(reason, INVENTORY) for reason in sizing.reasons)
    return Problem(f"{claim.path}.name", f"{where}: {causes}", fix=fix + _or_on_cpus([claim]))


def _or_on_cpus(claims: list[Claim]) -> str:
    """Another way out, of the engine that serves a model next to GPUs where it is told to."""
    names = [claim.name for claim in claims if claim.engine.kind == "llama_cpp"]
    if not names:
        return ""
    return f"; or declare n_gpu_layers=0 of its engine, which serves {' or '.join(names)} on CPUs"


def _for_share(reason: Reason) -> Reason:
    """The same where a share of a GPU is declared: that is what can be raised."""
    larger = remedy(RemedyKind.RAISE_SHARE)
    raises = RemedyKind.RAISE_UTILIZATION
    ways = tuple(larger if way.kind is raises else way for way in reason.remedies)
    return replace(reason, remedies=ways)


def _nearest(claim: Claim, hosts: list[Gpus], sizer: Sizer) -> tuple[Pool, Sizing]:
    """The pool that comes nearest to holding it."""
    found = []
    for host in hosts:
        for ways in pools(host):
            for pool in ways:
                count = len(claim.engine.tensor_split) or claim.gpu_count or pool.size
                sizing = sizer.best(claim, pool.device, min(count, pool.size), claim.share)
                found.append((pool, sizing))
    return max(
        found,
        key=lambda one: (
            one[1].supported,
            one[1].fits,
            one[1].max_model_len_that_fits,
            one[0].device.usable_gib * one[0].size,
        ),
    )


def _together_problem(claims: list[Claim], hosts: list[Gpus], sizer: Sizer) -> Problem:
    needs = []
    for claim in claims:
        placed = place((claim,), hosts, sizer).chosen
        assert placed is not None  # noqa: S101 - each fits alone, see above
        seat = placed.seats[0]
        size = seat.sizing.weights_gib_per_gpu + seat.sizing.overhead_gib_per_gpu
        on = f" on each of {len(seat.gpus)} GPUs" if len(seat.gpus) > 1 else ""
        declared = f" ({claim.share:g} of a GPU declared)" if claim.share else ""
        declared += " (a GPU for itself declared)" if claim.gpu_count else ""
        traits = claim.engine.traits
        declared += "" if traits.shares_cards else f" ({traits.title}: GPUs for itself)"
        needs.append(f"{claim.name} {size:.1f} GiB of weights and overhead{on}{declared}")
    usable = sum(device.usable_gib for host in hosts for device in host.devices)
    utilization = min(claim.utilization for claim in claims)
    return Problem(
        "models",
        f"each fits alone, but not all together: {'; '.join(needs)}; {_gpus(hosts)}"
        f" and gpu_memory_utilization {utilization:g} leave {usable * utilization:.1f} GiB",
        fix="take smaller weights (quantization awq or fp8), a shorter context, or more GPUs"
        + _or_on_cpus(claims),
    )


def engine_path(claim: Claim) -> str:
    """Where the settings of a model's engine stand in the inventory."""
    own = claim.model.engine is not None
    return f"{claim.path}.engine" if own else "engine"
