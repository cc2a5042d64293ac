"""What hardware costs, and where the lines cross."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.catalog import load_catalog
from deploy.cost import (
    Rates,
    bought,
    break_even_million_tokens,
    efficiency,
    eur_per_million_tokens,
    eur_per_user,
    hosted,
    million_tokens_per_month,
    months_until_cheaper,
)

money = st.floats(1, 1e6)
rate = st.floats(0.01, 1e5)


def test_the_slides_figures_of_an_h100_follow_from_the_catalogue() -> None:
    h100 = load_catalog().gpus["h100"]
    assert h100.power_watts is not None
    figures = efficiency(1866.3, 70, h100.power_watts, price_eur=30_000)
    assert figures.tokens_per_second_per_watt == pytest.approx(2.67, abs=0.005)
    assert figures.tokens_per_second_per_eur == pytest.approx(0.06, abs=0.005)
    assert figures.watts_per_user == 10


def test_a_bought_l40s() -> None:
    cost = bought(6000, 350, Rates(years=3, eur_per_kwh=0.25, utilization=1))
    assert cost.hardware_eur_per_month == pytest.approx(166.67, abs=0.01)
    assert cost.power_eur_per_month == pytest.approx(0.35 * 730 * 0.25)
    assert cost.eur_per_month == cost.hardware_eur_per_month + cost.power_eur_per_month


def test_rent_includes_the_power() -> None:
    assert (hosted(1008).eur_per_month, hosted(1008).power_eur_per_month) == (1008, 0)


def test_an_l40s_bought_against_rented() -> None:
    power = bought(6000, 350, Rates(utilization=1)).power_eur_per_month
    assert months_until_cheaper(6000, power, 1008) == pytest.approx(6.35, abs=0.01)
    assert months_until_cheaper(6000, 1008, 1008) is None


@given(price=money, watts=rate, years=st.floats(0.1, 20), more=st.floats(1, 10))
def test_bought_costs_less_a_month_over_more_years(
    price: float, watts: float, years: float, more: float
) -> None:
    short, long = Rates(years=years), Rates(years=years * more)
    assert bought(price, watts, long).eur_per_month <= bought(price, watts, short).eur_per_month


@given(
    price=money,
    watts=rate,
    share=st.floats(0, 1),
    other=st.floats(0, 1),
    kwh=st.floats(0, 2),
)
def test_more_work_never_takes_less_power(
    price: float, watts: float, share: float, other: float, kwh: float
) -> None:
    low, high = sorted((share, other))
    costs = [
        bought(price, watts, Rates(utilization=value, eur_per_kwh=kwh)).eur_per_month
        for value in (low, high)
    ]
    assert costs[0] <= costs[1] + 1e-9


@given(cost=money, speed=rate, share=st.floats(0.001, 1), more=st.floats(1, 100))
def test_more_tokens_never_cost_more_each(
    cost: float, speed: float, share: float, more: float
) -> None:
    assert eur_per_million_tokens(cost, speed * more, share) <= eur_per_million_tokens(
        cost, speed, share
    )
    assert eur_per_million_tokens(cost, 0, share) == math.inf


@given(cost=money, users=st.integers(1, 10**5), more=st.integers(0, 10**5))
def test_more_users_never_cost_more_each(cost: float, users: int, more: int) -> None:
    assert eur_per_user(cost, users + more) <= eur_per_user(cost, users)


@given(price=money, power=money, rent=money, more=st.floats(0, 1e6))
def test_dearer_rent_is_overtaken_sooner(
    price: float, power: float, rent: float, more: float
) -> None:
    now, then = (months_until_cheaper(price, power, r) for r in (rent, rent + more))
    assert now is None or (then is not None and then <= now)
    if now is not None:
        assert price + power * now == pytest.approx(rent * now)


@given(cost=money, saas=st.floats(0.01, 1000), more=st.floats(1, 100))
def test_a_dearer_service_is_overtaken_by_fewer_tokens(
    cost: float, saas: float, more: float
) -> None:
    tokens = break_even_million_tokens(cost, saas)
    fewer = break_even_million_tokens(cost, saas * more)
    assert tokens is not None
    assert fewer is not None
    assert fewer <= tokens
    assert tokens * saas == pytest.approx(cost)


def test_a_service_for_nothing_is_never_overtaken() -> None:
    assert break_even_million_tokens(100, 0) is None


def test_a_token_a_second_is_2_6_million_a_month() -> None:
    assert million_tokens_per_month(1) == pytest.approx(2.628)
