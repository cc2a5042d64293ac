"""The layouts worth keeping: those that no other one beats for every model."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from deploy.plan.placement.layout import Layout

KEPT = 60
"""With three models and more, layouts kept of each kind: there are too many to keep them all."""

Users = tuple[int, ...]
Group = tuple[object, ...]


def best_only(layouts: Iterable[Layout]) -> list[Layout]:
    """Layouts that no other one beats; of those with the same users, the one with most merit."""
    known: dict[tuple[Group, Users], Layout] = {}
    for layout in layouts:
        key = (_group(layout.shared, layout.counted, layout.users), layout.users)
        other = known.get(key)
        if other is None or layout.merit > other.merit:
            known[key] = layout
    return [known[key] for key in _unbeaten(known)]


def best_sums(
    left: list[Layout], right: list[Layout], move: Callable[[Layout], Layout] = lambda one: one
) -> list[Layout]:
    """Layouts of both lists next to each other that no other sum beats.

    Args:
        left: layouts on some GPUs.
        right: layouts on others.
        move: puts a layout of the right ones where it belongs.
    """
    known: dict[tuple[Group, Users], tuple[Layout, Layout]] = {}
    for one in left:
        for two in right:
            users = _sum(one.users, two.users)
            shared = one.shared or two.shared
            group = _group(shared, _sum(one.counted, two.counted), users)
            known.setdefault((group, users), (one, two))
    return [_beside(known[key][0], move(known[key][1])) for key in _unbeaten(known)]


def _beside(one: Layout, two: Layout) -> Layout:
    return Layout(
        one.seats + two.seats,
        _sum(one.users, two.users),
        _sum(one.counted, two.counted),
        one.shared or two.shared,
    )


def _group(shared: bool, counted: tuple[int, ...], users: Users) -> Group:
    """Layouts are compared with their like: shared cards, counted replicas, the same models."""
    present = tuple(map(bool, users)) if len(users) > 2 else ()
    return shared, counted, present


def _unbeaten(keys: Iterable[tuple[Group, Users]]) -> list[tuple[Group, Users]]:
    groups: dict[Group, list[Users]] = {}
    for group, users in keys:
        groups.setdefault(group, []).append(users)
    return [(group, users) for group, found in groups.items() for users in _frontier(found)]


def _frontier(found: list[Users]) -> list[Users]:
    if len(found[0]) <= 2:
        return _steps(sorted(found, reverse=True))
    kept: list[Users] = []
    for users in sorted(found, key=lambda users: (sorted(users), users), reverse=True):
        if len(kept) == KEPT:
            break
        if not any(_covers(other, users) for other in kept):
            kept.append(users)
    return kept


def _steps(descending: list[Users]) -> list[Users]:
    """Of one or two models: with fewer users of the first, more of the last are needed."""
    kept: list[Users] = []
    for users in descending:
        if not kept or users[-1] > kept[-1][-1]:
            kept.append(users)
    return kept


def _covers(users: Users, others: Users) -> bool:
    return all(mine >= other for mine, other in zip(users, others, strict=True))


def _sum(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(left, right, strict=True))
