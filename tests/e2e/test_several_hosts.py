"""Two fresh Debian hosts over SSH: the router and an engine on one, an engine on the other.

Asserted on the hosts themselves, past SSH and past Atelier, and through the router.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from deploy.catalog import load_catalog
from tests.e2e.hosts import Host
from tests.e2e.names import host_name
from tests.e2e.remote import Containers, containers_of, run_site
from tests.e2e.site import MASTER_KEY, START_TIMEOUT_SECONDS, Result, Settings, Site

NAMES = {name: host_name(name) for name in ("a", "b")}
ENGINES = ("e2e-llama-cpp-tiny-coder-0", "e2e-llama-cpp-tiny-coder-1")
ROUTER = "e2e-litellm-0"
Snapshot = dict[str, Containers]


@dataclass
class Pair:
    """Both hosts and what is deployed there."""

    site: Site
    hosts: dict[str, Host]
    base: Settings

    def declare(self, **changes: Any) -> None:
        """The base settings with some of them changed; nested ones by dotted names."""
        settings = copy.deepcopy(self.base)
        for dotted, value in changes.items():
            *path, last = dotted.split("__")
            target = settings
            for name in path:
                target = target[name]
            target[last] = value
        self.site.write(settings)

    def deploy(self) -> Result:
        """A run that succeeds."""
        result = self.site.deploy()
        assert result.status == 0, result.output
        return result

    def snapshot(self) -> Snapshot:
        """Id, state and start time of every container, by host."""
        return {name: containers_of(host) for name, host in self.hosts.items()}

    def ask(self) -> str:
        """Ask the router; returns which replica answered."""
        reply = httpx.post(
            f"http://{self.hosts['a'].address}:4000/v1/completions",
            headers={"Authorization": f"Bearer {MASTER_KEY}"},
            json={"model": "tiny-coder", "prompt": "def fib(n):", "max_tokens": 60},
            timeout=START_TIMEOUT_SECONDS,
        )
        reply.raise_for_status()
        assert "a, b = b, a + b" in reply.json()["choices"][0]["text"]
        return str(reply.headers["x-litellm-model-id"])

    def key_of(self, host: str, container: str, variable: str) -> str:
        """A secret in a container's environment."""
        rows = json.loads(self.hosts[host].run(f"docker inspect {container}"))[0]["Config"]["Env"]
        # a variable without a value is one that is not set
        return str(dict(row.split("=", 1) for row in rows if "=" in row)[variable])


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, pulled: Settings) -> Iterator[Pair]:
    with run_site(tmp_path_factory.mktemp("pair"), NAMES, pulled) as (site, hosts):
        yield Pair(site, hosts, site.settings)


def test_a_first_deployment(pair: Pair) -> None:
    dry = pair.site.dry_run()
    assert dry.status == 0, dry.output
    made = pair.deploy()
    assert _without_stage(made) == _without_stage(dry)
    found = pair.snapshot()
    assert {name: set(rows) for name, rows in found.items()} == {
        "a": {ENGINES[0], ROUTER},
        "b": {ENGINES[1]},
    }
    assert {state for rows in found.values() for _, state, _ in rows.values()} == {"running"}
    assert "engine tiny-coder on b: ok" in made.output


def test_a_second_deployment_changes_nothing(pair: Pair) -> None:
    before = pair.snapshot()
    again = pair.deploy()
    assert (again.succeeded, again.changes) == (0, []), again.output
    assert pair.snapshot() == before


def test_every_replica_answers_and_wants_the_same_key(pair: Pair) -> None:
    assert {pair.ask() for _ in range(20)} == set(ENGINES)
    keys = {
        pair.key_of("a", ENGINES[0], "LLAMA_API_KEY"),
        pair.key_of("b", ENGINES[1], "LLAMA_API_KEY"),
        pair.key_of("a", ROUTER, "ENGINE_API_KEY"),
    }
    assert len(keys) == 1
    url = f"http://{pair.hosts['b'].address}:8000"
    for path in ("/v1/completions", "/completion", "/tokenize", "/v1/embeddings"):
        assert httpx.post(f"{url}{path}", json={"prompt": "x"}).status_code == 401, path
    for path in ("/v1/models", "/slots", "/metrics", "/props"):
        assert httpx.get(f"{url}{path}").status_code == 401, path
    assert httpx.get(f"{url}/health").status_code == 200


def test_an_engine_beside_the_router_is_not_published(pair: Pair) -> None:
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://{pair.hosts['a'].address}:8000/health")


def test_looking_after_both(pair: Pair) -> None:
    status = json.loads(pair.site.atelier("status", "--json").stdout)
    assert status["ok"] is True
    assert [(row["service"], row["host"]) for row in status["services"]] == [
        (ENGINES[0], "a"),
        (ENGINES[1], "b"),
        (ROUTER, "a"),
    ]
    answer = pair.site.atelier("verify", "--json")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    checks = json.loads(answer.stdout)["checks"]
    assert [(check["name"], check["host"], check["ok"]) for check in checks][:2] == [
        ("engine tiny-coder", "a", True),
        ("engine tiny-coder", "b", True),
    ]
    assert "slot" in pair.site.atelier("logs", ENGINES[1]).stdout
    assert pair.site.atelier("check").returncode == 0


def test_one_engine_is_enough_and_the_next_run_starts_the_other(pair: Pair) -> None:
    pair.hosts["b"].run(f"docker stop {ENGINES[1]}")
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: pair.ask(), range(8))) == {ENGINES[0]}
    failed = pair.site.atelier("verify", "--json")
    assert failed.returncode == 1
    made = pair.deploy()
    assert made.announced == {("start", f"container {ENGINES[1]}")}
    assert {change["host"] for change in made.changes} == {"b"}


def test_a_host_that_is_down_stops_everything(pair: Pair) -> None:
    before = pair.snapshot()
    pair.hosts["b"].run("systemctl stop ssh.socket ssh.service; pkill -x sshd", check=False)
    pair.declare(engine__env={"LLAMA_LOG_COLORS": "0"}, router__num_retries=5)
    result = pair.site.deploy()
    status = pair.site.atelier("status", "--json")
    pair.hosts["b"].run("systemctl start ssh")
    assert (result.status, result.changes) == (1, [])
    assert "start the SSH server there" in result.output
    assert pair.snapshot() == before
    states = {row["service"]: row["state"] for row in json.loads(status.stdout)["services"]}
    assert states == {ENGINES[0]: "running", ENGINES[1]: "unreachable", ROUTER: "running"}


def test_a_host_that_fails_its_check_stops_everything(pair: Pair) -> None:
    before = pair.snapshot()
    pair.hosts["b"].run("systemd-run --unit=taken python3 -m http.server 8100")
    pair.declare(engine__port=8100, router__num_retries=5)
    for flag in ("--dry", "-y"):
        result = pair.site.run(flag)
        assert (result.status, result.changes) == (1, []), result.output
        assert "b cannot be deployed to" in result.output
        assert "port 8100 is in use" in result.output
    pair.hosts["b"].run("systemctl stop taken")
    assert pair.snapshot() == before


def test_an_engine_that_fails_on_one_host_leaves_the_router_alone(pair: Pair) -> None:
    """The barrier: the engines' tier is not done, so the routers' does not begin."""
    before = pair.snapshot()
    host = pair.hosts["b"]
    reference = pair.base["images"]["llama-cpp"]["reference"]
    image = host.run(f"docker image inspect -f '{{{{.Id}}}}' {reference}")
    host.run(f"tar -c --files-from /dev/null | docker import - {reference}")
    pair.declare(engine__env={"LLAMA_LOG_COLORS": "0"}, router__num_retries=5)
    result = pair.site.deploy()
    host.run(f"docker tag {image} {reference}")
    assert result.status == 1
    assert "Starting operation: Run the routers" not in result.output
    after = pair.snapshot()
    assert after["a"][ROUTER] == before["a"][ROUTER]
    assert after["a"][ENGINES[0]] != before["a"][ENGINES[0]]
    assert after["b"][ENGINES[1]][0] == before["b"][ENGINES[1]][0]
    mended = pair.deploy()
    assert {(change["host"], change["resource"]) for change in mended.changes} >= {
        ("b", f"container {ENGINES[1]}"),
        ("a", f"container {ROUTER}"),
    }
    assert pair.snapshot()["a"][ENGINES[0]] == after["a"][ENGINES[0]]


def test_what_moves_away_is_removed_where_it_was(pair: Pair) -> None:
    pair.declare(models=[{"name": "tiny-coder", "replicas": 1}])
    made = pair.deploy()
    removed = {(row["host"], row["resource"]) for row in made.changes if row["action"] == "remove"}
    assert ("b", f"container {ENGINES[1]}") in removed
    assert pair.snapshot()["b"] == {}
    assert pair.ask() == ENGINES[0]


def test_a_host_is_emptied_before_it_leaves_the_inventory(pair: Pair) -> None:
    unknown = pair.site.atelier("down", "--host", "c", "--yes")
    assert (unknown.returncode, "'c' is not in the inventory" in unknown.stderr) == (1, True)
    before = pair.snapshot()
    assert "e2e" in pair.hosts["b"].run("docker network ls --format '{{.Name}}'").splitlines()
    down = pair.site.atelier("down", "--host", "b", "--yes")
    assert down.returncode == 0, down.stderr
    assert "e2e" not in pair.hosts["b"].run("docker network ls --format '{{.Name}}'").splitlines()
    assert pair.hosts["b"].run("ls /var/lib/atelier/deployments") == ""
    assert pair.snapshot() == before
    pair.declare(hosts=pair.base["hosts"][:1], models=[{"name": "tiny-coder"}])
    assert pair.deploy().changes == []
    assert pair.snapshot()["a"] == before["a"]


def _without_stage(result: Result) -> list[str]:
    """What was announced, in an order that does not depend on which host was quicker."""
    rows = [{key: value for key, value in row.items() if key != "stage"} for row in result.changes]
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


def test_a_port_that_an_old_engine_leaves_is_taken_by_one_that_moves(pair: Pair) -> None:
    """m1, m2, m3 lie on a, b, a; without m2, m3 moves to b, where m2 still has its port."""
    tiny = str(load_catalog().models["tiny-coder"].path)
    m1, m2, m3 = ({"name": name, "path": tiny, "roles": ["chat"]} for name in ("m1", "m2", "m3"))
    pair.declare(models=[m1, m2, m3])
    pair.deploy()
    assert {name: set(rows) for name, rows in pair.snapshot().items()} == {
        "a": {"e2e-llama-cpp-m1-0", "e2e-llama-cpp-m3-0", ROUTER},
        "b": {"e2e-llama-cpp-m2-0"},
    }
    pair.declare(models=[m1, m3])
    pair.site.apply()
    assert {name: set(rows) for name, rows in pair.snapshot().items()} == {
        "a": {"e2e-llama-cpp-m1-0", ROUTER},
        "b": {"e2e-llama-cpp-m3-0"},
    }


def test_the_router_moves(pair: Pair) -> None:
    pair.declare(router__host="b")
    pair.site.apply()
    found = pair.snapshot()
    assert ROUTER in found["b"]
    assert ROUTER not in found["a"]
    pair.declare()
    pair.site.apply()
    assert ROUTER in pair.snapshot()["a"]
