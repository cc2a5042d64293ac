"""Published start-up logs: the physics, release by release."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import pytest

from deploy.units import GIB
from tests.sizing.published import PUBLISHED, Published
from tests.sizing.published_later import ASSUMED, KNOWN, tables

DOCS = Path(__file__).parents[2] / "docs" / "sizing.md"
IDS = [f"{p.model}-{p.gpu}-{p.tp}x{p.pp}-{p.utilization:g}-{p.version}" for p in PUBLISHED]


@pytest.mark.parametrize("published", PUBLISHED, ids=IDS)
def test_a_published_start_up_is_sized_within_three_percent(published: Published) -> None:
    assert abs(published.error(published.size())) < 0.03


@pytest.mark.parametrize("published", PUBLISHED, ids=IDS)
def test_published_weights_are_met_within_one_and_a_half_percent(published: Published) -> None:
    ours = published.size().weights_gib_per_gpu
    assert ours == pytest.approx(published.weights_gib, rel=0.015)


def test_the_usual_error_is_small_even_where_the_version_is_unknown() -> None:
    assert median(abs(p.error(p.size())) for p in PUBLISHED) < 0.003
    assert median(abs(p.error(p.size("0.26"))) for p in PUBLISHED) < 0.03


@pytest.mark.parametrize("published", [*KNOWN, *ASSUMED], ids=lambda p: f"{p.model}-{p.version}")
def test_later_releases_and_other_cards(published: Published) -> None:
    """Within 3 % or, of first starts on the second runner, within 1 GiB."""
    sizing = published.size()
    per_token = sizing.kv_cache_bytes_per_token_per_gpu / GIB
    wrong = (sizing.kv_cache_tokens - (published.kv_cache_tokens or 0)) * per_token
    assert abs(published.error(sizing)) < 0.03 or (published.version == "0.27" and abs(wrong) < 1)
    if published.weights_gib:
        assert sizing.weights_gib_per_gpu == pytest.approx(published.weights_gib, rel=0.015)


def test_the_usual_error_of_later_releases_is_small() -> None:
    assert median(abs(p.error(p.size())) for p in (*KNOWN, *ASSUMED)) < 0.02


def test_the_documented_table_is_what_is_computed() -> None:
    assert tables() in DOCS.read_text(encoding="utf-8")
