"""Which units of a host change together, which at the same time and which one after the other.

A port has one owner, and memory of a GPU or of the host is given out once: a unit cannot start
while another one still has what it needs, nor before one that it needs. Such units form a group:
what runs is stopped, the new ones start, and if one of them fails everything of the group is as it
was before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from deploy.services import Holds, Tier

STARTS_ANEW = {"create", "recreate"}
WHOLE = 1.0 + 1e-6
"""A GPU's memory, with room for the rounding of shares."""
Item = TypeVar("Item")


@dataclass(frozen=True)
class Pending:
    """A unit of a host that changes."""

    name: str
    tier: Tier
    action: str
    """``create``, ``recreate``, ``start`` ..., ``remove`` of one that is no longer wanted, or
    ``keep`` of one that runs on, and whose files or models change."""
    serves: str = ""
    """What it answers for."""
    needs: str = ""
    """Name of the unit that it does not become healthy without."""
    rolls: bool = False
    """Whether it serves now, and a unit on another host serves meanwhile: hosts take turns."""
    is_engine: bool = False
    """Whether it loads a model: engines fill their memory when they start, others as they work."""
    old: Holds = field(default_factory=Holds)
    """What it has on its host now."""
    new: Holds = field(default_factory=Holds)
    """What it will have."""


@dataclass(frozen=True)
class Group:
    """Units that change together; most are alone."""

    members: tuple[Pending, ...]

    @property
    def tier(self) -> Tier:
        """When it is its turn: with the last of its members, when what they need runs."""
        return max((member.tier for member in self.members), key=lambda tier: tier.position)

    @property
    def rolls(self) -> bool:
        """Whether its host must wait for its turn: hosts take turns tier by tier."""
        return any(member.rolls for member in self.members)

    @property
    def gpus(self) -> frozenset[int]:
        """The GPUs that its members start on."""
        return frozenset(index for member in self.members for index in member.new.gpus)

    @property
    def serves(self) -> frozenset[str]:
        """What its members answer for."""
        return frozenset(member.serves for member in self.members if member.serves)


def form_groups(
    pending: Sequence[Pending], standing: Iterable[Holds], memory_bytes: int = 0
) -> tuple[Group, ...]:
    """The units that change, in groups; each in the order of the tiers.

    Args:
        pending: the units of one host that change.
        standing: what the units hold that do not change.
        memory_bytes: memory of the host; 0 where that is not known.
    """
    standing = list(standing)
    gpus = _crowded_gpus(pending, standing)
    is_crowded = _is_crowded(pending, standing, memory_bytes)
    groups = _connected(
        pending, lambda one, other: _conflict(one, other, gpus, is_crowded=is_crowded)
    )
    return tuple(
        Group(tuple(sorted(group, key=lambda member: member.tier.position))) for group in groups
    )


def lanes(groups: Sequence[Group]) -> tuple[tuple[Group, ...], ...]:
    """Groups that follow each other, apart from those that change at the same time.

    What shares a GPU starts one after the other: vLLM measures free memory as it starts. So do
    units that serve the same, so that one of them always serves.
    """
    together = _connected(
        groups,
        lambda one, other: bool(one.gpus & other.gpus or one.serves & other.serves),
    )
    return tuple(tuple(lane) for lane in together)


def _crowded_gpus(pending: Sequence[Pending], standing: Sequence[Holds]) -> frozenset[int]:
    """GPUs whose memory does not hold what is there and what is to come at the same time."""
    gpus = {index for member in pending for index in (*member.old.gpus, *member.new.gpus)}
    return frozenset(
        index
        for index in gpus
        if sum(holds.gpus.get(index, 0.0) for holds in standing)
        + sum(_largest_share(member, index) for member in pending)
        > WHOLE
    )


def _largest_share(member: Pending, index: int) -> float:
    return max(member.old.gpus.get(index, 0.0), member.new.gpus.get(index, 0.0))


def _is_crowded(pending: Sequence[Pending], standing: Sequence[Holds], memory_bytes: int) -> bool:
    """Whether the host's memory does not hold what is there and what is to come at a time.

    What is only made anew is stopped first, and has its memory once.
    """
    most = sum(holds.memory_bytes for holds in standing)
    most += sum(max(member.old.memory_bytes, member.new.memory_bytes) for member in pending)
    return 0 < memory_bytes < most


def _conflict(one: Pending, other: Pending, crowded: frozenset[int], *, is_crowded: bool) -> bool:
    if "keep" in {one.action, other.action}:
        return False
    if one.new.ports & other.old.ports or other.new.ports & one.old.ports:
        return True
    if _waits(one, other) or _waits(other, one):
        return True
    if is_crowded and (_makes_room(one, other) or _makes_room(other, one)):
        return True
    return bool(_gpus(one) & _gpus(other) & crowded)


def _makes_room(one: Pending, other: Pending) -> bool:
    """Whether an engine leaves memory of the host, and the other one will have more than now."""
    leaves = one.old.memory_bytes > one.new.memory_bytes
    wants = other.new.memory_bytes > other.old.memory_bytes
    return one.is_engine and other.is_engine and leaves and wants


def _waits(one: Pending, other: Pending) -> bool:
    """Whether one cannot start until the other has for the first time."""
    return (one.needs, other.action) == (other.name, "create") and one.action in STARTS_ANEW


def _gpus(member: Pending) -> frozenset[int]:
    return frozenset(member.old.gpus) | frozenset(member.new.gpus)


def _connected(
    items: Sequence[Item], are_linked: Callable[[Item, Item], bool]
) -> Iterator[list[Item]]:
    """Items in the smallest sets without a link between two of them, in the given order."""
    left = list(items)
    while left:
        found = [left.pop(0)]
        for item in found:
            linked = [other for other in left if are_linked(item, other)]
            found += linked
            left = [other for other in left if other not in linked]
        yield [item for item in items if item in found]
