"""A deployment with both routers in whole runs of pyinfra, on a host of its ``@fake`` connector."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploy.artefacts import Artefacts, make_artefacts
from deploy.inventory import load_inventory
from tests.fake_host import converged, fresh
from tests.test_pyinfra import INVENTORY, Site, plan

STEP = "Keep people and keys"
PEOPLE = 'postgres={"web_ui": False}, people=[{"name": "ada", "rpm_limit": 60}],'
BOTH = f'routers=[{{"kind": "aristote"}}, {{"port": 4001}}], {PEOPLE}'
ARISTOTE = 'router={"kind": "aristote"}, postgres={"web_ui": False}, people=[{"name": "ada"}],'
ASKED = {"aristote": "4000 demo-aristote-sender-0", "litellm": "4000 demo-litellm-0"}
"""How the question for the people of each router ends."""
KEY = "sk-recognisable-key-of-ada"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    (site.directory / "responses.json").write_text("{}")
    site.keep_secrets()
    return site


def declare(site: Site, more: str) -> Artefacts:
    site.inventory.write_text(INVENTORY.replace("# more", more))
    declared = load_inventory(site.inventory)
    artefacts = make_artefacts(declared.spec, declared.directory)
    artefacts.secrets.save()
    return artefacts


def has_ada(key: str, **more: Any) -> list[str]:
    """What a router answers that has her with a key."""
    fields: dict[str, Any] = {
        "alias": "ada",
        "person": "ada",
        "team": None,
        "models": [],
        "expires": None,
    }
    limits = ("max_budget", "budget_duration", "tpm_limit", "rpm_limit", "max_parallel_requests")
    fields |= dict.fromkeys(limits) | more | {"disabled": False}
    mark = {"deployment": "demo", "name": "ada", "kept_by": "inventory", "declared": fields}
    row = {"user_id": "ada", "teams": [], "metadata": {"atelier": mark | {"declared": {}}}}
    token = {
        "token": hashlib.sha256(key.encode()).hexdigest(),
        "key_alias": "ada",
        "user_id": "ada",
        "metadata": {"atelier": mark},
        **more,
    }
    return [json.dumps({"state": "read", "teams": [], "users": [row], "keys": [token]})]


CAME_WITH_BOTH = '"kept_by": "command", "shared": true'
ABSENT = ['{"state": "absent"}']


def told(result: subprocess.CompletedProcess[str]) -> list[str]:
    """What is to change about people."""
    lines = [line.split("Will ")[1] for line in result.stderr.splitlines() if "Will " in line]
    return [line.strip() for line in lines if " ada" in line]


def test_a_converged_host_gets_nothing(site: Site) -> None:
    known = {
        ASKED["aristote"]: has_ada(KEY),
        ASKED["litellm"]: has_ada(KEY, rpm_limit=60),
    }
    site.answer(known | converged(declare(site, BOTH)))
    result = site.execute("--json", "--diff", "-vvv")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["results"]["totals"]["success"] == 0
    assert "Will " not in result.stderr


def test_a_fresh_host_gets_both_and_one_key(site: Site) -> None:
    declare(site, BOTH)
    site.answer(fresh())
    dry = site.run("--dry", "--json", "--diff")
    assert plan(dry)[STEP]
    assert told(dry) == [
        f"create {what} in {router}"
        for router in ("Aristote", "LiteLLM")
        for what in ("person ada", "key of ada")
    ]
    done = site.execute("--json", "--diff", "-vvv")
    assert done.returncode == 0, done.stderr
    assert told(done) == told(dry)
    [handed] = (site.directory / ".secrets").glob("*/ada.env")
    found = re.search(r"sk-\S+", handed.read_text())
    assert found
    assert found[0] not in dry.stdout + dry.stderr + done.stdout + done.stderr
    # each has a program of its own
    assert "atelier_people" in done.stderr
    assert "LITELLM_MASTER_KEY" in done.stderr


def test_litellm_is_given_what_aristote_has(site: Site) -> None:
    before = converged(declare(site, ARISTOTE))
    known = {ASKED["aristote"]: has_ada(KEY), ASKED["litellm"]: ABSENT}
    declare(site, BOTH)
    site.answer(known | before)
    dry = site.run("--dry", "--json", "--diff")
    assert told(dry) == ["create person ada in LiteLLM", "create key of ada in LiteLLM"]
    assert "key: (none) -> Aristote's" in dry.stderr
    done = site.execute("--json", "--diff", "-vvv")
    assert done.returncode == 0, done.stderr
    assert not list((site.directory / ".secrets").glob("*/ada.env"))
    # from one container to the other, on the host
    assert re.search(
        r"atelier copy .* demo-litellm-0 -- .* demo-aristote-sender-0", done.stderr, re.S
    )
    # the sender goes on
    for name in ("aristote-sender", "rabbitmq", "aristote-consumer"):
        assert f"container demo-{name}" not in dry.stderr
    assert "Will create container demo-litellm-0" in dry.stderr


def test_people_get_new_keys_where_aristote_comes_to_litellm(site: Site) -> None:
    before = converged(declare(site, PEOPLE))
    known = {ASKED["aristote"]: ABSENT, ASKED["litellm"]: has_ada(KEY, rpm_limit=60)}
    declare(site, BOTH)
    site.answer(known | before)
    dry = site.run("--dry", "--json", "--diff")
    assert told(dry) == [
        "create person ada in Aristote",
        "create key of ada in Aristote",
        "replace key of ada in LiteLLM",
    ]
    assert "key: another one -> a new one" in dry.stderr
    done = site.execute("--diff", "-vvv")
    assert done.returncode == 0, done.stderr
    assert list((site.directory / ".secrets").glob("*/ada.env"))


def test_an_aristote_that_comes_back_is_asked_before_anybody_is_taken_away(site: Site) -> None:
    """Who is in LiteLLM alone by then was not removed: what Aristote has nobody knows yet."""
    before = converged(declare(site, PEOPLE))
    guest = [line.replace('"kept_by": "inventory"', CAME_WITH_BOTH) for line in has_ada(KEY)]
    known = {ASKED["aristote"]: ABSENT, ASKED["litellm"]: guest}
    declare(site, BOTH.replace('people=[{"name": "ada", "rpm_limit": 60}],', ""))
    site.answer(known | before)
    dry = site.run("--dry", "--json", "--diff")
    assert dry.returncode == 0, dry.stderr
    assert told(dry) == []
    assert "compared when Aristote answers: no Aristote runs" in dry.stderr


def test_a_router_that_does_not_answer_is_named(site: Site) -> None:
    known = {
        ASKED["aristote"]: ['{"state": "stopped"}'],
        ASKED["litellm"]: ['{"state": "refused", "said": "/team/list answered 500"}'],
    }
    site.answer(known | converged(declare(site, BOTH)))
    dry = site.run("--dry", "--json", "--diff")
    assert told(dry) == []
    assert "compared when Aristote answers: no Aristote runs" in dry.stderr
    assert "compared when LiteLLM answers: LiteLLM refused: /team/list answered 500" in dry.stderr
    done = site.execute()
    assert done.returncode == 1
    assert "people and keys cannot be compared: no Aristote runs" in done.stderr


def test_a_litellm_that_goes_leaves_the_sender(site: Site) -> None:
    known = {ASKED["aristote"]: has_ada(KEY)}
    before = converged(declare(site, BOTH))
    declare(site, ARISTOTE)
    site.answer(known | before)
    dry = site.run("--dry", "--json", "--diff")
    assert dry.returncode == 0, dry.stderr
    assert "Will remove container demo-litellm-0" in dry.stderr
    assert told(dry) == []
    assert "container demo-aristote-sender" not in dry.stderr
