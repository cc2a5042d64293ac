"""How long something took, where some stopped waiting."""

from __future__ import annotations

import math
import random

import pytest

from deploy.live.load.percentiles import seconds_of, shares

# weeks of remission of 21 patients with 6-mercaptopurine, a plus where it went on (Freireich et
# al., Blood 21, 1963), and what every textbook since has as Kaplan and Meier's estimate of it
REMISSION = "6 6 6 6+ 7 9+ 10 10+ 11+ 13 16 17+ 19+ 20+ 22 23 25+ 32+ 32+ 34+ 35+"
STILL = {6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448}


def test_a_known_example() -> None:
    words = REMISSION.split()
    took = [float(word) for word in words if not word.endswith("+")]
    waited = [float(word[:-1]) for word in words if word.endswith("+")]
    found = shares(took, waited)
    assert {int(at): round(1 - part, 3) for at, part in found} == pytest.approx(STILL)
    assert seconds_of(0.5, found) == 23
    assert seconds_of(0.95, found) is None


@pytest.mark.parametrize("count", [1, 2, 7, 100, 1000])
@pytest.mark.parametrize("percent", [50, 95, 99])
def test_where_all_were_answered_so_many_took_no_longer(count: int, percent: int) -> None:
    took = [float(each) for each in range(1, count + 1)]
    assert seconds_of(percent / 100, shares(took, [])) == math.ceil(count * percent / 100)


def test_who_stops_by_chance_changes_nothing() -> None:
    """People type on after half a second, whatever the engine does: the others tell how it is."""
    chance = random.Random(4)  # noqa: S311 - not a secret
    true = [chance.uniform(0.1, 0.9) for _ in range(20_000)]
    given_up = [chance.uniform(0.1, 0.6) if chance.random() < 0.4 else 9.0 for _ in true]
    came = [t for t, until in zip(true, given_up, strict=True) if t <= until]
    in_vain = [until for t, until in zip(true, given_up, strict=True) if t > until]
    assert seconds_of(0.5, shares(came, in_vain)) == pytest.approx(0.5, abs=0.02)
    assert seconds_of(0.95, shares(came, in_vain)) == pytest.approx(0.86, abs=0.02)


def test_nobody() -> None:
    assert shares([], []) == []
    assert shares([], [3.0]) == []
    assert seconds_of(0.5, []) is None
