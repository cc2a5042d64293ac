"""What models take that one Ollama has loaded at the same time."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.sizing.fit import Fit
from deploy.sizing.overhead import Overhead
from deploy.sizing.reasons import ReasonKind, reason
from deploy.sizing.reasons_text import INVENTORY, reason_text
from deploy.sizing.request import Sizing
from deploy.sizing.together import size_together, total_gib


def sized(
    name: str, weights: float, *, cache: float = 1.0, fits: Fit = Fit.YES, speed: float = 40.0
) -> Sizing:
    """A model with half a GiB of its own, and a quarter that is not sure."""
    return Sizing(
        supported=True,
        fits=fits,
        reasons=() if fits else (reason(ReasonKind.MEMORY_UNKNOWN),),
        model=name,
        engine="ollama",
        gpus=("rtx-4090",),
        weights_gib_per_gpu=weights,
        overhead=Overhead(0.05, 0.0, 0.45, uncertainty_gib=0.25),
        kv_cache_gib_per_gpu=cache,
        concurrent_users=2,
        tokens_per_second_per_user=speed,
    )


def test_with_one_place_it_is_the_largest_model() -> None:
    small, large = sized("small", 2.0, speed=90.0), sized("large", 12.0, speed=30.0)
    found = size_together([small, large], 1, 20.0)
    assert found.fits is Fit.YES
    assert total_gib(found) == pytest.approx(13.5)
    assert (found.concurrent_users, found.tokens_per_second_per_user) == (2, 30.0)


@pytest.mark.parametrize(
    ("usable", "fits"), [(17.6, Fit.YES), (17.4, Fit.PROBABLY), (16.9, Fit.NO)]
)
def test_two_processes_have_two_contexts_and_twice_what_is_not_sure(
    usable: float, fits: Fit
) -> None:
    models = [sized("a", 4.0), sized("b", 2.0), sized("c", 10.0)]
    found = size_together(models, 2, usable)
    assert found.fits is fits
    assert found.overhead.total_gib == pytest.approx(1.0)
    assert total_gib(found) == pytest.approx(17.0)


def test_a_model_that_does_not_fit_alone_is_the_reason() -> None:
    wrong = sized("wrong", 90.0, fits=Fit.NO)
    assert size_together([sized("a", 2.0), wrong], 1, 20.0) is wrong


def test_what_is_not_sure_of_one_is_not_sure_of_all() -> None:
    models = [sized("a", 2.0, fits=Fit.PROBABLY), sized("b", 10.0)]
    assert size_together(models, 1, 20.0).fits is Fit.PROBABLY


def test_how_many_would_fit_is_said() -> None:
    models = [sized("a", 4.0), sized("b", 5.0), sized("c", 6.0)]
    found = size_together(models, 3, 15.0)
    assert not found.fits
    assert reason_text(found.reasons[0], INVENTORY) == (
        "c, b and a are loaded at the same time and need 19.5 GiB of each GPU, which leaves"
        " 15.0 GiB; lower max_loaded_models to 2, or use a smaller quantization, or take more GPU"
        " memory"
    )


@given(st.lists(st.floats(0.5, 20.0), min_size=1, max_size=6), st.integers(1, 7))
def test_no_set_of_so_many_takes_more(weights: list[float], most: int) -> None:
    models = [sized(f"m{index}", size) for index, size in enumerate(weights)]
    sets = combinations(models, min(most, len(models)))
    needed = max(sum(map(total_gib, some)) for some in sets)
    assert total_gib(size_together(models, most, 1000.0)) == pytest.approx(needed)
    assert size_together(models, most, needed + 0.01).fits
    assert not size_together(models, most, needed - 0.01).fits
