"""Which units change together, which at the same time and which one after the other."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from deploy.changes.live import LiveService, held
from deploy.changes.order import Group, Pending, form_groups, lanes
from deploy.services import Holds, Tier


def gpu(**shares: float) -> Holds:
    """Shares of GPUs called g0, g1 ..."""
    return Holds(gpus={int(name[1:]): share for name, share in shares.items()})


def port(*numbers: int) -> Holds:
    return Holds(ports=frozenset(numbers))


def engine(name: str, action: str, old: Holds | None = None, new: Holds | None = None) -> Pending:
    return Pending(
        name, Tier.ENGINE, action, name, is_engine=True, old=old or Holds(), new=new or Holds()
    )


def memory(gib: int) -> Holds:
    return Holds(memory_bytes=gib)


def names(groups: tuple[Group, ...]) -> list[list[str]]:
    return [[member.name for member in group.members] for group in groups]


def test_a_model_is_swapped_for_another_on_a_full_gpu() -> None:
    old = engine("old", "remove", gpu(g0=0.9))
    new = engine("new", "create", new=gpu(g0=0.9))
    assert names(form_groups([new, old], [])) == [["new", "old"]]


def test_a_share_grows_into_what_another_model_leaves() -> None:
    dropped = engine("dropped", "remove", gpu(g0=0.15))
    grows = engine("grows", "recreate", gpu(g0=0.75), gpu(g0=0.9))
    assert names(form_groups([grows, dropped], [])) == [["grows", "dropped"]]


def test_a_share_shrinks_to_make_room() -> None:
    shrinks = engine("shrinks", "recreate", gpu(g0=0.9), gpu(g0=0.5))
    comes = engine("comes", "create", new=gpu(g0=0.4))
    assert names(form_groups([shrinks, comes], [])) == [["shrinks", "comes"]]


def test_what_fits_beside_the_others_changes_alone() -> None:
    comes = engine("comes", "create", new=gpu(g0=0.2))
    changes = engine("changes", "recreate", gpu(g0=0.3), gpu(g0=0.3))
    assert names(form_groups([comes, changes], [gpu(g0=0.4)])) == [["comes"], ["changes"]]


def test_a_model_is_swapped_for_another_in_the_memory_of_its_host() -> None:
    """Only where both do not fit next to what stands: else the old one answers meanwhile."""
    old, new = engine("old", "remove", memory(40)), engine("new", "create", new=memory(40))
    for gib, together in ((99, True), (100, False), (0, False)):
        expected = [["new", "old"]] if together else [["new"], ["old"]]
        assert names(form_groups([new, old], [memory(20)], gib)) == expected


def test_what_is_only_made_anew_is_not_stopped_for_what_comes() -> None:
    """It has its memory once, as it is stopped first."""
    old, new = engine("old", "remove", memory(40)), engine("new", "create", new=memory(40))
    anew = engine("anew", "recreate", memory(50), memory(50))
    assert names(form_groups([anew, new, old], [], 100)) == [["anew"], ["new", "old"]]


def test_what_was_only_created_has_no_memory_yet() -> None:
    """A run that was killed leaves it; what it is to take the place of still makes room."""

    def live(name: str) -> LiveService:
        return LiveService(name, "exited", None, 0.0, "demo", None, holds=memory(40))

    assert held([live("new.next")]) == Holds()
    assert held([live("new.next"), live("new")]) == held([live("new.previous")]) == memory(40)


def test_engines_alone_make_room_in_the_memory_of_their_host() -> None:
    """Others fill theirs as they work, and the one that goes may still be asked."""
    new = engine("new", "create", new=memory(40))
    store = replace(engine("store", "remove", memory(70)), is_engine=False)
    assert names(form_groups([new, store], [], 100)) == [["new"], ["store"]]


def test_what_runs_on_while_its_models_change_is_not_stopped_for_others() -> None:
    """It keeps its share; the others, which share its GPU, change together, before or after it."""
    keeps = engine("keeps", "keep", gpu(g0=0.6), gpu(g0=0.4))
    goes = engine("goes", "remove", gpu(g0=0.3))
    comes = engine("comes", "create", new=gpu(g0=0.5))
    groups = form_groups([keeps, goes, comes], [])
    assert names(groups) == [["keeps"], ["goes", "comes"]]
    assert [names(lane) for lane in lanes(groups)] == [[["keeps"], ["goes", "comes"]]]


def test_units_that_stay_count() -> None:
    comes = engine("comes", "create", new=gpu(g0=0.4))
    goes = engine("goes", "remove", gpu(g0=0.3))
    assert names(form_groups([comes, goes], [gpu(g0=0.2)])) == [["comes"], ["goes"]]
    assert names(form_groups([comes, goes], [gpu(g0=0.5)])) == [["comes", "goes"]]


def test_a_port_freed_by_an_orphan_is_taken_by_another() -> None:
    goes, comes = (
        engine("m2", "remove", port(8001)),
        engine("m3", "recreate", port(8002), port(8001)),
    )
    other = engine("m1", "recreate", port(8000), port(8000))
    assert names(form_groups([other, comes, goes], [])) == [["m1"], ["m3", "m2"]]


def test_two_services_exchange_ports_in_the_order_of_their_tiers() -> None:
    router = Pending("router", Tier.ROUTER, "recreate", old=port(4000), new=port(3000))
    web_ui = Pending("web", Tier.WEB_UI, "recreate", old=port(3000), new=port(4000))
    [group] = form_groups([web_ui, router], [])
    assert [member.name for member in group.members] == ["router", "web"]
    assert group.tier == Tier.WEB_UI


def test_what_waits_for_a_later_tier_waits_for_its_turn_there() -> None:
    """Else all hosts would change at the same time what they serve, with the routers."""
    serves = Pending("m-0", Tier.ENGINE, "recreate", "m", rolls=True, old=port(1), new=port(2))
    router = Pending("router", Tier.ROUTER, "recreate", "router", old=port(2), new=port(1))
    [alone], [group] = form_groups([serves], []), form_groups([serves, router], [])
    assert (alone.tier, alone.rolls) == (Tier.ENGINE, True)
    assert (group.tier, group.rolls) == (Tier.ROUTER, True)


def test_what_needs_one_that_is_new_starts_with_it_whatever_that_waits_for() -> None:
    """Another service leaves the port that something listens on from now on."""
    service = Pending("service", Tier.ROUTER, "recreate", old=port(8443), new=port(4000))
    listener = Pending("listener", Tier.LINK, "create", "link", new=port(8443))
    link = Pending("haproxy", Tier.LINK, "create", "link", needs="listener")
    [group] = form_groups([listener, link, service], [])
    assert names((group,)) == [["listener", "haproxy", "service"]]
    assert group.tier == Tier.ROUTER
    # one that is there is replaced while it is there, and one that stays is not touched
    there = replace(listener, action="recreate")
    assert names(form_groups([there, link], [])) == [["listener"], ["haproxy"]]
    stays = replace(link, action="keep")
    assert names(form_groups([listener, stays], [])) == [["listener"], ["haproxy"]]


def test_a_chain_is_one_group() -> None:
    chain = [
        engine("a", "recreate", port(1), port(2)),
        engine("b", "recreate", port(2), port(3)),
        engine("c", "recreate", port(3), port(4)),
    ]
    assert names(form_groups(chain, [])) == [["a", "b", "c"]]


def test_what_shares_a_gpu_starts_one_after_the_other_and_the_rest_together() -> None:
    pending = [
        engine("a", "create", new=gpu(g0=0.4)),
        engine("b", "create", new=gpu(g0=0.4)),
        engine("c", "create", new=gpu(g1=0.9)),
    ]
    ordered = lanes(form_groups(pending, []))
    assert [names(lane) for lane in ordered] == [[["a"], ["b"]], [["c"]]]


def test_units_that_serve_the_same_follow_each_other() -> None:
    one = Pending("m-0", Tier.ENGINE, "recreate", "m")
    two = Pending("m-1", Tier.ENGINE, "recreate", "m")
    assert [names(lane) for lane in lanes(form_groups([one, two], []))] == [[["m-0"], ["m-1"]]]


shares = st.dictionaries(st.integers(0, 2), st.sampled_from([0.1, 0.3, 0.5, 0.9]), max_size=2)
holds = st.builds(
    lambda gpus, ports, gib: Holds(gpus=gpus, ports=frozenset(ports), memory_bytes=gib),
    shares,
    st.sets(st.integers(1, 4), max_size=2),
    st.integers(0, 9),
)
hosts = st.lists(st.tuples(holds, holds), max_size=5).map(
    lambda pairs: [
        engine(f"u{index}", "recreate", old, new) for index, (old, new) in enumerate(pairs)
    ]
)


@given(hosts)
def test_every_unit_is_in_one_group_and_every_group_in_one_lane(pending: list[Pending]) -> None:
    groups = form_groups(pending, [])
    members = [member.name for group in groups for member in group.members]
    assert Counter(members) == Counter(member.name for member in pending)
    ordered = [group for lane in lanes(groups) for group in lane]
    assert Counter(map(id, ordered)) == Counter(map(id, groups))


@given(hosts, holds, st.integers(0, 12), st.permutations(range(5)))
def test_in_whatever_order_groups_change_nobody_misses_what_it_needs(
    pending: list[Pending], stands: Holds, spare: int, order: list[int]
) -> None:
    """As long as everything fits in the end, and did at the start: the planner sees to that."""
    before = [stands, *(unit.old for unit in pending)]
    after = [stands, *(unit.new for unit in pending)]
    if _overbooked(before) or _overbooked(after):
        return
    has = max(_memory(before), _memory(after)) + spare
    groups = form_groups(pending, [stands], has)
    now = {unit.name: unit.old for unit in pending}
    for position in order:
        if position >= len(groups):
            continue
        group = groups[position]
        for member in group.members:
            now[member.name] = Holds()
        for member in group.members:
            now[member.name] = member.new
            assert not _overbooked([stands, *now.values()])
            assert _memory([stands, *now.values()]) <= has


@given(hosts, st.integers(1, 50))
def test_memory_joins_only_what_leaves_some_and_what_wants_some(
    pending: list[Pending], has: int
) -> None:
    """Where the host holds all at a time, or nobody leaves any, it changes nothing."""
    without = form_groups(pending, [])
    most = sum(max(unit.old.memory_bytes, unit.new.memory_bytes) for unit in pending)
    gains = [unit.new.memory_bytes - unit.old.memory_bytes for unit in pending]
    if most <= has or min(gains, default=0) >= 0 or max(gains, default=0) <= 0:
        assert form_groups(pending, [], has) == without
    else:
        moved = {unit.name for unit, gain in zip(pending, gains, strict=True) if gain}
        [joined] = [g for g in form_groups(pending, [], has) if moved & {m.name for m in g.members}]
        assert moved <= {member.name for member in joined.members}


def _memory(held: list[Holds]) -> int:
    return sum(one.memory_bytes for one in held)


def _overbooked(held: list[Holds]) -> bool:
    ports = [number for one in held for number in one.ports]
    totals: Counter[int] = Counter()
    for one in held:
        for index, share in one.gpus.items():
            totals[index] += round(share * 10)
    return len(ports) != len(set(ports)) or any(total > 10 for total in totals.values())
