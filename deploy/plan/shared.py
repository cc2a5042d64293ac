"""Models that share an Ollama, which loads and unloads them: one process with one set of settings.

What it does: https://docs.ollama.com/faq (how does Ollama handle concurrent requests), and
server/sched.go of its source.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from deploy.plan.placement import (
    Claim,
    Gpus,
    Placement,
    Seat,
    Sizer,
    counted_context,
    device_of,
)
from deploy.plan.replica_plan import ReplicaPlan


def as_shared(claims: tuple[Claim, ...], context_tokens: int | None) -> tuple[Claim, ...]:
    """Models with the settings that the others of their Ollama have, too.

    It has one context length and one number of slots: what is declared of one of its models, else
    of a length what the longest typical request needs. A model that was made for less has less.

    Args:
        claims: the deployment's models.
        context_tokens: tokens of a typical request, where declared.
    """
    groups = groups_of(claims)
    settled = ((claim, groups.get(claim.engine.shared or "")) for claim in claims)
    return tuple(
        _settled(claim, group, context_tokens) if group else claim for claim, group in settled
    )


def groups_of(claims: Iterable[Claim]) -> dict[str, tuple[Claim, ...]]:
    """The models of each shared Ollama, by its name."""
    groups: dict[str, tuple[Claim, ...]] = {}
    for claim in claims:
        if claim.engine.shared:
            groups[claim.engine.shared] = (*groups.get(claim.engine.shared, ()), claim)
    return groups


def _settled(claim: Claim, group: tuple[Claim, ...], context_tokens: int | None) -> Claim:
    declared = (each.model.max_model_len or each.engine.max_model_len for each in group)
    slots = (each.model.max_num_seqs or each.engine.max_num_seqs for each in group)
    longest = next(filter(None, declared), max(each.context_tokens for each in group))
    common = {
        "replicas": 1,
        "gpus": next((each.model.gpus for each in group if each.model.gpus), None),
        "max_num_seqs": next(filter(None, slots), None),
    }
    limit = claim.context_limit
    length = min(longest, limit)
    return replace(
        claim,
        model=claim.model.model_copy(update=common),
        max_model_len=length,
        context_tokens=counted_context(context_tokens, claim.roles, length, limit),
    )


def to_place(claims: Iterable[Claim]) -> tuple[Claim, ...]:
    """What is placed: of models that share an Ollama, the first in the place of all."""
    claims = tuple(claims)
    groups, placed = groups_of(claims), []
    for claim in claims:
        group = groups.get(claim.engine.shared or "")
        if group is None:
            placed.append(claim)
        elif group[0] is claim:
            placed.append(replace(claim, together=group))
    return tuple(placed)


def each_seated(placement: Placement, hosts: Sequence[Gpus], sizer: Sizer) -> Placement:
    """A placement in which every model has its seat, those of one Ollama the same GPUs."""
    chosen = placement.chosen
    if chosen is None:
        return placement
    seats = (each for seat in chosen.seats for each in _seats(seat, hosts, sizer))
    return replace(placement, chosen=replace(chosen, seats=tuple(seats)))


def _seats(seat: Seat, hosts: Sequence[Gpus], sizer: Sizer) -> Iterator[Seat]:
    if not seat.claim.together:
        yield seat
        return
    device, split = device_of(hosts, seat.host, seat.gpus), (1, len(seat.gpus))
    for claim in seat.claim.together:
        yield replace(seat, claim=claim, sizing=sizer.replica(claim, device, split, seat.share))


def with_one_limit(replicas: Iterable[ReplicaPlan]) -> Iterator[ReplicaPlan]:
    """Replicas of a shared Ollama with its memory limit: what the largest take that are loaded."""
    replicas = tuple(replicas)
    for replica in replicas:
        engine = replica.engine
        if engine.shared is None or engine.memory_limit is not None:
            yield replica
            continue
        limits = sorted(each.memory_limit_bytes for each in beside(replica, replicas))
        limit = sum(limits[-engine.most_loaded :])
        yield replica.model_copy(update={"memory_limit_bytes": limit})


def beside(replica: ReplicaPlan, replicas: Iterable[ReplicaPlan]) -> tuple[ReplicaPlan, ...]:
    """The replicas that are served by the same process, this one too."""
    shared = replica.engine.shared
    if shared is None:
        return (replica,)
    return tuple(each for each in replicas if each.engine.shared == shared)
