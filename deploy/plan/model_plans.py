"""What each model gives, and why it is arranged as it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from deploy.plan.deployment_plan import ModelPlan, RejectedPlan
from deploy.plan.placement import Claim, Gpus, Placement, Seat, Sizer, device_of
from deploy.plan.placement.pool import pools
from deploy.plan.replica_plan import ReplicaPlan
from deploy.plan.shared_text import takes_turns, why_shared
from deploy.sizing import Sizing
from deploy.sizing.reasons_text import INVENTORY, reason_text

AT_THE_LIMIT = "waits in the queue until one ends"


@dataclass(frozen=True)
class Outcome:
    """What placement decided, with what is needed to explain it."""

    placement: Placement
    hosts: tuple[Gpus, ...]
    sizer: Sizer
    users: int
    """How many people use the deployment."""
    wide: tuple[Seat, ...] = ()
    """Replicas over several hosts, which are placed before all others."""

    def seats(self, claim: Claim) -> tuple[Seat, ...]:
        """The replicas of one model that lie on GPUs."""
        chosen = self.placement.chosen
        seats = (*self.wide, *(chosen.seats if chosen else ()))
        return tuple(seat for seat in seats if seat.claim is claim)


def model_plan(
    claim: Claim,
    replicas: tuple[ReplicaPlan, ...],
    outcome: Outcome,
    beside: tuple[str, ...] = (),
) -> ModelPlan:
    """What a model gives, by all its replicas.

    Args:
        claim: the model.
        replicas: all of them.
        outcome: what placement decided.
        beside: other models that its Ollama serves.
    """
    seats = outcome.seats(claim)
    users = sum(replica.concurrent_users for replica in replicas)
    busy = [loaded(seat, outcome, users) for seat in seats]
    return ModelPlan(
        name=claim.model.name,
        served_model_name=claim.name,
        roles=claim.roles,
        engine=claim.engine.kind,
        quantization=_quantization(claim, seats, replicas),
        max_model_len=min(replica.max_model_len for replica in replicas),
        context_tokens=min(claim.context_tokens, *(r.max_model_len for r in replicas)),
        concurrent_users=users,
        tokens_per_second_per_user=_speed(busy) if _writes(claim) else None,
        prompt_tokens_per_second=_reading(busy) if _writes(claim) else None,
        at_the_limit=_at_the_limit(claim, replicas, users) + takes_turns(claim.engine, beside),
        reasons=(*_reasons(claim, seats, outcome), *why_shared(claim.engine, beside)),
        rejected=tuple(_rejected(claim, seats, outcome)),
    )


def _writes(claim: Claim) -> bool:
    return not {"embedding", "rerank"} & {*claim.roles}


def _quantization(claim: Claim, seats: tuple[Seat, ...], replicas: tuple[ReplicaPlan, ...]) -> str:
    """As declared, as sized, or as the file has it, which no one looked at."""
    is_file = any(replica.file is not None for replica in replicas)
    if seats and not is_file:
        return seats[0].sizing.quantization
    if claim.quantization or claim.declared is None or claim.engine.traits.weights == "gguf":
        return claim.quantization or "as its file"
    return claim.declared.architecture.quantization.method


def loaded(seat: Seat, outcome: Outcome, all_users: int) -> Sizing:
    """A replica with its part of the people, at most as many as it answers at once."""
    if not seat.claim.engine.traits.shares_cache:
        return seat.sizing
    own = seat.sizing.concurrent_users
    load = min(own, max(1, round(outcome.users * own / max(all_users, 1))))
    device = device_of(outcome.hosts, seat.host, seat.gpus)
    split = (seat.sizing.tensor_parallel_size, seat.sizing.pipeline_parallel_size)
    claim = replace(seat.claim, users=load)
    return Sizer().replica(claim, device, split, seat.share)


def _speed(busy: list[Sizing]) -> float | None:
    """Of the slowest replica."""
    return round(min(each.tokens_per_second_per_user for each in busy), 1) if busy else None


def _reading(busy: list[Sizing]) -> float | None:
    """Of the replica that reads slowest; llama.cpp's and Ollama's is not estimated."""
    speeds = [each.prefill_tokens_per_second / max(each.replicas, 1) for each in busy]
    return round(min(speeds)) if speeds and min(speeds) > 0 else None


def _at_the_limit(claim: Claim, replicas: tuple[ReplicaPlan, ...], users: int) -> str:
    traits = claim.engine.traits
    if traits.reserves:
        length = max(replica.max_model_len for replica in replicas)
        room = f"each has room for {length} tokens from its start, unless its client limits it"
        return f"request {users + 1} {AT_THE_LIMIT}; {room}"
    if traits.shares_cache:
        full = f"when running requests outgrow the KV cache, {traits.when_full}"
        return f"request {users + 1} {AT_THE_LIMIT}; {full}"
    slots, length = replicas[0].max_num_seqs, replicas[0].max_model_len
    return f"request {users + 1} {AT_THE_LIMIT}; each of {slots} slots keeps {length} tokens"


def _reasons(claim: Claim, seats: tuple[Seat, ...], outcome: Outcome) -> Iterator[str]:
    if not seats:
        yield "runs on the CPU: its speed depends on the machine and is not estimated"
        return
    first = seats[0].sizing
    yield _split_reason(first.tensor_parallel_size, first.pipeline_parallel_size, len(seats), claim)
    companions = sorted({name for seat in seats for name in seat.companions})
    if companions:
        share = min(seat.share for seat in seats if seat.companions)
        gain = _gain(outcome)
        yield f"shares GPUs with {', '.join(companions)}, with {share:.0%} of their memory{gain}"
    elif outcome.placement.other and claim.engine.nnodes == 1:
        yield f"has its GPUs for itself{_gain(outcome)}"


def _split_reason(tp: int, pp: int, count: int, claim: Claim) -> str:
    if not claim.engine.traits.shares_cache:
        how = f"{claim.engine.split_mode} by {claim.engine.split_mode}"
        return f"{_replicas(count)} over {pp} GPU{'s' if pp > 1 else ''}, {how}"
    if claim.engine.nnodes > 1:
        nodes = f"{_replicas(count)} over {claim.engine.nnodes} hosts{' each' if count > 1 else ''}"
        split = f"tensor_parallel_size {tp} within a host, pipeline_parallel_size {pp} over all"
        return f"{nodes}: {split}; a pipeline with few stages answers each user sooner"
    if tp * pp == 1:
        each = "" if count == 1 else " each"
        return f"{_replicas(count)} on one GPU{each}: no traffic between GPUs"
    if pp == 1:
        return f"tensor_parallel_size {tp}, {_replicas(count)}: serves the most users at once"
    why = f"{tp * pp} GPUs cannot share each layer" if tp == 1 else "as declared"
    return f"pipeline_parallel_size {pp}, tensor_parallel_size {tp}, {_replicas(count)}: {why}"


def _replicas(count: int) -> str:
    return "1 replica" if count == 1 else f"{count} replicas"


def _gain(outcome: Outcome) -> str:
    """What the best layout of the other kind would give."""
    other, chosen = outcome.placement.other, outcome.placement.chosen
    if other is None or chosen is None:
        return ""
    now, then = min(chosen.users), min(other.users)
    return f": {now} people use all models at once instead of {then}" if now > then else ""


def _rejected(claim: Claim, seats: tuple[Seat, ...], outcome: Outcome) -> Iterator[RejectedPlan]:
    """Other layouts first, then other splits on the same GPUs."""
    if not seats or claim.engine.nnodes > 1:
        return
    yield from _other_layouts(seats, outcome)
    if not claim.engine.traits.shares_cache:
        return
    sizing = _on_same_gpus(claim, seats, outcome)
    taken = (seats[0].sizing.tensor_parallel_size, seats[0].sizing.pipeline_parallel_size)
    best = (sizing.tensor_parallel_size, sizing.pipeline_parallel_size)
    if best != taken and sizing.fits:
        reason = "as declared" if claim.model.replicas else "its other models would get less"
        yield RejectedPlan(arrangement=_split(*best), reason=reason)
    for other in sizing.rejected:
        split = (other.tensor_parallel_size, other.pipeline_parallel_size)
        if split != taken:
            yield RejectedPlan(
                arrangement=_split(*split), reason=reason_text(other.reason, INVENTORY)
            )


def _other_layouts(seats: tuple[Seat, ...], outcome: Outcome) -> Iterator[RejectedPlan]:
    other, chosen = outcome.placement.other, outcome.placement.chosen
    if chosen is None or len(chosen.users) == 1:
        return
    name = "GPUs of its own" if seats[0].companions else "GPUs shared with other models"
    if other is not None:
        now, then = min(chosen.users), min(other.users)
        reason = f"{then} people use all models at once instead of {now}"
        if then == now:
            reason = "no more people use all models at once"
        yield RejectedPlan(arrangement=name, reason=reason)
    elif seats[0].companions:
        count = sum(len(host.devices) for host in outcome.hosts)
        gpus = "the one GPU" if count == 1 else f"{count} GPUs"
        models = len({seat.claim.name for seat in chosen.seats})
        reason = f"{models} models do not fit on {gpus} side by side"
        yield RejectedPlan(arrangement=name, reason=reason)


def _on_same_gpus(claim: Claim, seats: tuple[Seat, ...], outcome: Outcome) -> Sizing:
    """The sizing's own view of all GPUs that the model has on its first host."""
    host = next(host for host in outcome.hosts if host.host == seats[0].host)
    used = {gpu for seat in seats if seat.host == host.host for gpu in seat.gpus}
    pool = max(
        (pool for ways in pools(host) for pool in ways),
        key=lambda pool: len(used & set(pool.indices)),
    )
    share = min(seat.share for seat in seats)
    return outcome.sizer.best(claim, pool.device, min(len(used), host.most_together), share)


def _split(tp: int, pp: int) -> str:
    return f"tensor_parallel_size {tp}" + (f", pipeline_parallel_size {pp}" if pp > 1 else "")
