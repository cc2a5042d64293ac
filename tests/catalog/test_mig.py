"""Cards that are divided: profiles, and where instances lie."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.catalog import in_order, load_catalog, place_instances

CARDS = load_catalog().mig
NUMBERS = {
    "a30": {"1g.6gb": 4, "2g.12gb": 2, "4g.24gb": 1},
    "a100-40": {"1g.5gb": 7, "1g.10gb": 4, "2g.10gb": 3, "3g.20gb": 2, "4g.20gb": 1, "7g.40gb": 1},
    "h200": {"1g.18gb": 7, "1g.35gb": 4, "2g.35gb": 3, "3g.71gb": 2, "4g.71gb": 1, "7g.141gb": 1},
    "b200": {"1g.23gb": 7, "1g.45gb": 4, "2g.45gb": 3, "3g.90gb": 2, "4g.90gb": 1, "7g.180gb": 1},
    "rtx-pro-6000": {"1g.24gb": 4, "2g.48gb": 2, "4g.96gb": 1},
}
"""Number of instances that NVIDIA's guide says are available: its tables of profiles."""


@pytest.mark.parametrize("name", NUMBERS)
def test_there_are_as_many_as_nvidia_says(name: str) -> None:
    card = CARDS[name]
    assert {profile: card.most(profile) for profile in card.profiles} == NUMBERS[name]
    for profile, count in NUMBERS[name].items():
        assert len(place_instances(card, [profile] * count)) == count
        assert not place_instances(card, [profile] * (count + 1))


@pytest.mark.parametrize(
    ("card", "layout", "placed"),
    [
        # the guide's examples 2 and 3, whose placements "nvidia-smi mig -lgi" prints there
        ("a100-40", ["1g.5gb", "1g.5gb", "2g.10gb", "3g.20gb"],
         ["3g.20gb:4", "2g.10gb:0", "1g.5gb:2", "1g.5gb:3"]),
        ("a100-40", ["2g.10gb", *["1g.5gb"] * 5],
         ["2g.10gb:0", "1g.5gb:2", "1g.5gb:3", "1g.5gb:4", "1g.5gb:5", "1g.5gb:6"]),
        ("rtx-pro-6000", ["1g.24gb", "2g.48gb", "1g.24gb"],
         ["2g.48gb:0", "1g.24gb:6", "1g.24gb:9"]),
        ("a100-40", ["4g.20gb", "3g.20gb", "1g.5gb"], []),
        ("h100", ["3g.40gb", "3g.40gb", "2g.20gb"], []),
    ],
)  # fmt: skip
def test_layouts(card: str, layout: list[str], placed: list[str]) -> None:
    assert [each.placed for each in place_instances(CARDS[card], layout)] == placed


@given(st.sampled_from(sorted(CARDS)), st.data())
def test_instances_never_overlap(name: str, data: st.DataObject) -> None:
    card = CARDS[name]
    layout = data.draw(st.lists(st.sampled_from(sorted(card.profiles)), min_size=1, max_size=7))
    placed = place_instances(card, layout)
    taken = [
        slice_
        for each in placed
        for slice_ in range(each.start, each.start + card.profiles[each.profile].memory_slices)
    ]
    assert len(taken) == len(set(taken))
    assert all(0 <= slice_ < card.memory_slices for slice_ in taken)
    if placed:
        assert [each.profile for each in placed] == in_order(card, layout)
        # no layout has more SMs than the card
        assert sum(card.profiles[n].compute_slices for n in layout) <= card.compute_slices
        # the order in which it is declared makes no difference
        assert place_instances(card, list(reversed(layout))) == placed


def test_an_instance_has_less_than_its_part_of_the_card() -> None:
    for name, card in CARDS.items():
        memory = load_catalog().gpus[name].memory_gib or 0
        for profile in card.profiles.values():
            assert profile.memory_gib <= memory * profile.memory_slices / card.memory_slices
