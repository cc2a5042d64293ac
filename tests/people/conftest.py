from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from deploy.people.compare import PeopleChanges, compare
from deploy.people.new_keys import NewKeys
from deploy.people.records import Live, live, wanted
from deploy.people.requests import Requests
from deploy.plan.people import people_plan
from deploy.plan.people_plan import PeoplePlan
from deploy.scripts import read_script
from tests.conftest import declare
from tests.fake_litellm import FakeLiteLLM, run_fake_litellm
from tests.people.aristote_container import Container, make_container

TODAY = date(2026, 3, 1)


def plan_people(**settings: Any) -> PeoplePlan:
    """The people of a deployment; ``people`` and ``teams`` as in an inventory."""
    plan, problems = people_plan(declare(postgres={}, **settings), Path())
    assert problems == ()
    assert plan is not None
    return plan


class InContainer:
    """The script that runs in the router's container, with a made-up LiteLLM there."""

    patience_seconds = 30

    def __init__(self, fake: FakeLiteLLM) -> None:
        self.fake = fake
        self.environment: dict[str, str] = {}

    def run(self, action: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        patience = f"TIMEOUT_SECONDS = {self.patience_seconds}\n"
        script = read_script("router_api.py").replace("TIMEOUT_SECONDS = 30\n", patience)
        return subprocess.run(
            # without this environment's packages, which the container does not have
            [sys.executable, "-IS", "-c", script, action, str(self.fake.port)],
            env={
                "LITELLM_MASTER_KEY": "sk-master",
                "PATH": os.environ["PATH"],
                **self.environment,
            },
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def look(self) -> Live:
        return live(json.loads(self.run("look").stdout))

    def compare(self, plan: PeoplePlan, today: date = TODAY) -> PeopleChanges:
        return compare(wanted(plan, today), self.look(), "demo")

    def deploy(self, plan: PeoplePlan, today: date = TODAY) -> dict[str, str]:
        """Carry out what differs; after that nothing does."""
        changes = self.compare(plan, today)
        keys = NewKeys.of(changes.new_keys, plan.people)
        requests = Requests("demo", "inventory", keys.values).of(changes)
        body = json.dumps([{"path": each.path, "body": dict(each.body)} for each in requests])
        done = self.run("apply", body)
        assert done.returncode == 0, done.stderr
        assert self.compare(plan, today).changes == ()
        return dict(keys.values)


@pytest.fixture
def fake() -> Iterator[FakeLiteLLM]:
    with run_fake_litellm() as fake:
        yield fake


@pytest.fixture
def router(fake: FakeLiteLLM) -> InContainer:
    return InContainer(fake)


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return make_container(tmp_path)
