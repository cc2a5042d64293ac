"""Names by which containers ask each other."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.catalog import load_catalog
from deploy.errors import PlanError
from tests.conftest import MakeArtefacts

TINY: dict[str, Any] = {"name": "tiny-coder"}
FILE = str(load_catalog().models["tiny-coder"].path)
FITS = "d" * (63 - len("-llama-cpp-tiny-coder-0"))
HOSTS = [{"name": "a", "address": "10.0.0.1"}, {"name": "h" * 45, "address": "10.0.0.2"}]


def test_a_name_as_long_as_names_may_be(make: MakeArtefacts) -> None:
    names = [unit.name for unit in make(name=FITS, models=[TINY]).stack.units]
    assert max(map(len, names)) == 63


def test_a_longer_one_is_refused(make: MakeArtefacts) -> None:
    long = "x" * 30
    model = {"name": long, "path": FILE, "roles": ["chat"]}
    with pytest.raises(PlanError) as refused:
        make(name="e" * 40, models=[model])
    [problem] = refused.value.problems
    assert problem.path == "name"
    name = f"{'e' * 40}-llama-cpp-{long}-0"
    assert problem.found == f"others ask {name} by its name, and {name} has 83 characters"
    assert problem.allowed.startswith("at most 63 between two dots")


def test_dots_are_between_labels(make: MakeArtefacts) -> None:
    model = {"name": f"{'x' * 30}.{'y' * 40}", "path": FILE, "roles": ["chat"]}
    assert make(models=[model]).stack.units


def test_what_no_one_asks_by_its_name_may_have_any(make: MakeArtefacts) -> None:
    """Links are asked at addresses; a web UI asks its own by the name of what listens."""
    assert make(hosts=HOSTS, router={"host": HOSTS[1]["name"]}, entry={"host": "a"}).stack.units
    with pytest.raises(PlanError, match="demo-listener-client-hhh"):
        make(hosts=HOSTS, web_ui={"host": HOSTS[1]["name"]}, router={"host": "a"})
