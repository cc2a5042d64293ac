"""Published start-up logs: the physics, release by release."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import pytest

from tests.golden import assert_golden
from tests.sizing.published import PUBLISHED, Published, table

DOCS = Path(__file__).parents[2] / "docs" / "sizing.md"
TABLE_BEGINS = "| model | GPUs | TP x PP |"
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


@pytest.mark.golden
def test_the_documented_table_is_what_is_computed() -> None:
    text = DOCS.read_text(encoding="utf-8")
    documented = text[text.index(TABLE_BEGINS) :].partition("\n\n")[0]
    assert_golden(DOCS, text.replace(documented.rstrip("\n"), table()))
