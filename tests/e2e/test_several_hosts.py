"""Two fresh Debian hosts over SSH: the router and an engine on one, an engine on the other.

In the end the entry is on one, and two routers and a web UI on the other. Asserted on the hosts
themselves, past SSH and past Atelier, through the router, and from a third host.
"""

from __future__ import annotations

import base64
import copy
import json
import re
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import yaml

from deploy.catalog import load_catalog
from deploy.tls.authority import CERTIFICATE_DAYS, issue, make_authority
from deploy.tls.pair import Pair as Secrets
from deploy.tls.pair import Role
from tests.e2e import fake_vllm
from tests.e2e.hosts import Host, build_host_image, docker
from tests.e2e.load import ASK_ENTRY, Load, router_states, steady_load
from tests.e2e.names import host_name
from tests.e2e.registry import Registry
from tests.e2e.remote import Containers, containers_of, run_site
from tests.e2e.site import MASTER_KEY, START_TIMEOUT_SECONDS, Result, Settings, Site

NAMES = {name: host_name(name) for name in ("a", "b")}
ENGINES = ("e2e-llama-cpp-tiny-coder-0", "e2e-llama-cpp-tiny-coder-1")
ROUTER, ENTRY, WEB_UI = "e2e-litellm-0", "e2e-haproxy-0", "e2e-open-webui-0"
CLIENT, SERVER = "e2e-link-client-0", "e2e-link-server-b-0"
CLIENTS, SERVERS = {CLIENT, "e2e-listener-client-0"}, {SERVER, "e2e-listener-server-b-0"}
"""With what listens for them."""
ROUTERS = (ROUTER, "e2e-litellm-1")
WIDE = "qwen2.5-coder-0.5b"
ASKED = f"e2e-vllm-{WIDE}-0"
NODE = f"{ASKED}-node-1"
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

    def ask(
        self,
        prompt: str = "def fib(n):",
        expected: str = "a, b = b, a + b",
        model: str = "tiny-coder",
    ) -> str:
        """Ask the router; returns which replica answered, always the same if it is asked again."""
        reply = httpx.post(
            f"http://{self.hosts['a'].address}:4000/v1/completions",
            headers={"Authorization": f"Bearer {MASTER_KEY}"},
            json={"model": model, "prompt": prompt, "max_tokens": 60},
            timeout=START_TIMEOUT_SECONDS,
        )
        reply.raise_for_status()
        assert expected in reply.json()["choices"][0]["text"]
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


THIRD = """
import json, socket, ssl, sys
from concurrent.futures import ThreadPoolExecutor

what, address, texts = json.load(sys.stdin)
if what == "ports":
    def is_open(port):
        with socket.socket() as probe:
            probe.settimeout(5)
            return probe.connect_ex((address, port)) == 0
    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(is_open, range(65536)))
    print([port for port in range(65536) if found[port]])
    sys.exit()
way = socket.create_connection((address, 8443), 30)
try:
    if what == "ask":
        authority, own = texts
        context = ssl.create_default_context(cadata=authority.partition("-----BEGIN PRIVATE")[0])
        if own:
            with open("/tmp/own.pem", "w") as file:
                file.write(own)
            context.load_cert_chain("/tmp/own.pem")
        way = context.wrap_socket(way, server_hostname="b.link")
    way.sendall(b"GET /e2e-llama-cpp-tiny-coder-1/health HTTP/1.1\\r\\nHost: b\\r\\n\\r\\n")
    said = way.recv(1000).split(b"\\r\\n")[0].decode()
    print(said or "refused: closed")
except ssl.SSLError as error:
    print("refused: alert" if "ALERT" in error.reason else f"refused: {error.reason}")
except ConnectionError:
    print("refused: closed")
"""
"""What the third host does: looks for open ports, or asks the link with a certificate."""


@pytest.fixture(scope="module")
def third() -> Iterator[Callable[..., str]]:
    """A host that is not in the inventory: what it finds."""
    name = host_name("third")
    image = build_host_image(with_docker=True)
    docker("run", "--detach", "--init", "--name", name, image, "sleep", "infinity")

    def run(what: str, address: str, *texts: str) -> str:
        told = json.dumps([what, address, texts])
        return docker("exec", "--interactive", name, "python3", "-c", THIRD, stdin=told)

    yield run
    docker("rm", "--force", name)


def test_a_first_deployment(pair: Pair) -> None:
    dry = pair.site.dry_run()
    assert dry.status == 0, dry.output
    made = pair.deploy()
    assert _without_stage(made) == _without_stage(dry)
    found = pair.snapshot()
    assert {name: set(rows) for name, rows in found.items()} == {
        "a": {ENGINES[0], ROUTER, *CLIENTS},
        "b": {ENGINES[1], *SERVERS},
    }
    assert {state for rows in found.values() for _, state, _ in rows.values()} == {"running"}
    assert "engine tiny-coder on b: ok" in made.output


def test_a_second_deployment_changes_nothing(pair: Pair) -> None:
    before = pair.snapshot()
    again = pair.deploy()
    assert (again.succeeded, again.changes) == (0, []), again.output
    assert pair.snapshot() == before


def test_every_replica_answers_and_wants_the_same_key(pair: Pair) -> None:
    assert {pair.ask(f"# {number}", expected="") for number in range(20)} == set(ENGINES)
    keys = {
        pair.key_of("a", ENGINES[0], "LLAMA_API_KEY"),
        pair.key_of("b", ENGINES[1], "LLAMA_API_KEY"),
        pair.hosts["a"].run(f"docker exec {ROUTER} cat /etc/atelier/engine_keys").strip(),
    }
    assert len(keys) == 1


def test_a_third_host_finds_nothing_but_the_router_and_the_link(
    pair: Pair, third: Callable[..., str]
) -> None:
    found = {name: third("ports", host.address) for name, host in pair.hosts.items()}
    assert found == {"a": "[22, 4000]", "b": "[22, 8443]"}


def test_a_link_is_open_to_the_routers_alone(pair: Pair, third: Callable[..., str]) -> None:
    """Every certificate but the first is refused before anything is asked."""
    kept = yaml.safe_load((pair.site.directory / ".secrets" / "e2e.yaml").read_text())["links"]
    authority, now = Secrets(**kept["authority"]), datetime.now(UTC)
    past = now - timedelta(days=CERTIFICATE_DAYS + 1)
    name = ("a.link",)
    offered = {
        "the routers'": Secrets(**kept["pairs"]["a client"]),
        "no certificate": None,
        "of another authority": issue(make_authority("e2e links", now), name, now, "client"),
        "an expired one": issue(authority, name, past, "client"),
        "the server's own": Secrets(**kept["pairs"]["b server"]),
        "the one before": issue(make_authority("e2e links", past), name, past, "client"),
    }
    address = pair.hosts["b"].address
    told = {
        what: third("ask", address, *(_text(each) for each in (authority, offer)))
        for what, offer in offered.items()
    }
    assert told.pop("the routers'") == "HTTP/1.1 200 OK"
    assert set(told.values()) <= {"refused: alert"}, told
    assert third("plain", address) == "refused: closed"


def _text(pair: Secrets | None) -> str:
    return pair.certificate + pair.key if pair else ""


def test_looking_after_both(pair: Pair) -> None:
    status = json.loads(pair.site.atelier("status", "--json").stdout)
    assert status["ok"] is True
    assert [(row["service"], row["host"]) for row in status["services"]] == [
        (ENGINES[0], "a"),
        (ENGINES[1], "b"),
        ("e2e-listener-server-b-0", "b"),
        (SERVER, "b"),
        ("e2e-listener-client-0", "a"),
        (CLIENT, "a"),
        (ROUTER, "a"),
    ]
    answer = pair.site.atelier("verify", "--json")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    checks = json.loads(answer.stdout)["checks"]
    assert {row["service"]: row["certificate_days"] for row in status["services"]} == {
        **dict.fromkeys((*ENGINES, ROUTER, *CLIENTS, *SERVERS)),
        **dict.fromkeys((CLIENT, SERVER), CERTIFICATE_DAYS - 2),
    }
    assert [(check["name"], check["host"], check["ok"]) for check in checks][:4] == [
        ("link server", "b", True),
        ("link client", "a", True),
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
    assert states == {
        **dict.fromkeys((ENGINES[0], ROUTER, *CLIENTS), "running"),
        **dict.fromkeys((ENGINES[1], *SERVERS), "unreachable"),
    }


def test_a_host_that_fails_its_check_stops_everything(pair: Pair) -> None:
    before = pair.snapshot()
    pair.hosts["b"].run("systemd-run --unit=taken python3 -m http.server 8100")
    pair.declare(links={"port": 8100}, router__num_retries=5)
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
    pair.declare(engine__env={"LLAMA_LOG_COLORS": "0"}, router__num_retries=0)
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


RESTART = """
from pyinfra import host
from deploy.facts import look
from deploy.facts.drivers import Drivers
from deploy.operations.host_restart import restart
from deploy.operations.lock import changes_host
from deploy.operations.rested import serving
from deploy.tasks.current import current_deployment


@changes_host
def restarted(artefacts):
    yield restart(artefacts, serving(artefacts), look.ask(Drivers).boot_id, 180)


deployment = current_deployment()
if host.name == "b":
    restarted(name="Restart b", artefacts=deployment)
"""


def test_no_request_fails_while_an_engine_s_host_is_restarted(pair: Pair) -> None:
    """What Driver(reboot="allowed") does to a host, without the cards that ask for it.

    The router, as the test before has left it, tries nothing twice.
    """
    host = pair.hosts["b"]
    host.restart_as_a_machine()
    boot_id = host.run("cat /proc/sys/kernel/random/boot_id")
    deploy_file = pair.site.directory / "restart.py"
    deploy_file.write_text(RESTART)
    usual, pair.site.deploy_file = pair.site.deploy_file, str(deploy_file)
    before = pair.snapshot()
    load = Load(f"http://{pair.hosts['a'].address}:4000", MASTER_KEY, "tiny-coder")
    with steady_load(load) as wait_for:
        wait_for(10)
        done = pair.site.deploy()
        pair.site.deploy_file = usual
        wait_for(20)
    assert done.status == 0, done.output
    assert load.failures == []
    assert host.run("cat /proc/sys/kernel/random/boot_id") != boot_id
    after = pair.snapshot()
    assert after["a"] == before["a"]
    # the same container, started anew, which answers again
    assert after["b"][ENGINES[1]][:2] == before["b"][ENGINES[1]][:2]
    assert after["b"][ENGINES[1]] != before["b"][ENGINES[1]]
    assert {pair.ask(f"# {number}", expected="") for number in range(20)} == set(ENGINES)
    assert pair.deploy().changes == []


def test_certificates_rotate_and_all_is_replaced_and_no_request_fails(pair: Pair) -> None:
    """The router tries nothing twice, and half of what it is asked goes through the link."""
    path = pair.site.directory / ".secrets" / "e2e.yaml"
    kept = yaml.safe_load(path.read_text())
    authority = Secrets(**kept["links"]["authority"])
    # as if a year had passed
    soon = datetime.now(UTC) - timedelta(days=CERTIFICATE_DAYS - 20)
    ends: tuple[tuple[str, Role], ...] = (("a", "client"), ("b", "server"))
    kept["links"]["pairs"] = {
        f"{host} {role}": vars(issue(authority, (f"{host}.link",), soon, role))
        for host, role in ends
    }
    path.write_text(yaml.safe_dump(kept))
    before, old = pair.snapshot(), _served(pair)
    load = Load(f"http://{pair.hosts['a'].address}:4000", MASTER_KEY, "tiny-coder")
    with steady_load(load) as wait_for:
        wait_for(10)
        done = pair.deploy()
        wait_for(20)
        rotated, new = pair.snapshot(), _served(pair)
        assert load.failures == [], _said_by_links(pair)
        pair.declare(engine__env={"TZ": "UTC"}, router__num_retries=0, links=LARGER)
        replaced = pair.deploy()
        wait_for(20)
    assert load.failures == [], _said_by_links(pair)
    said = "a certificate for {}.link: the one there is has 18 days left, and keep it in"
    assert {action for action, _ in done.announced if "certificate" in action} == {
        f"make {said.format(host)}" for host in pair.hosts
    }
    assert rotated == before
    assert set(new.values()) & set(old.values()) == set()
    both = {("recreate", f"container {name}") for name in (*ENGINES, SERVER, CLIENT)}
    assert replaced.announced == both
    assert pair.deploy().changes == []


LARGER = {"memory_limit": "300MiB"}


def _said_by_links(pair: Pair) -> str:
    """What both ends have logged, but for requests that went well."""
    logs = [
        pair.hosts[host].run(f"docker logs --timestamps {name} 2>&1")
        for host, name in (("a", CLIENT), ("b", SERVER))
    ]
    return "\n".join(line for log in logs for line in log.splitlines() if ':200,"' not in line)


def _served(pair: Pair) -> dict[str, str]:
    """Fingerprint of the certificate of each end, as HAProxy tells it there."""
    ask = "exec 3<>/dev/tcp/127.0.0.1/9999; echo show ssl cert {} >&3; cat <&3"
    ask = ask.format("link.pem")
    found = {}
    for host, name in (("a", CLIENT), ("b", SERVER)):
        said = pair.hosts[host].run(f"docker exec {name} bash -c '{ask}'")
        [found[name]] = re.findall("FingerPrint: (.*)", said)
    return found


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


def test_a_model_moves_behind_the_link_of_one_that_leaves(pair: Pair) -> None:
    """m1, m2, m3 lie on a, b, a; without m2, m3 moves to b."""
    tiny = str(load_catalog().models["tiny-coder"].path)
    m1, m2, m3 = ({"name": name, "path": tiny, "roles": ["chat"]} for name in ("m1", "m2", "m3"))
    pair.declare(models=[m1, m2, m3])
    pair.deploy()
    assert {name: set(rows) for name, rows in pair.snapshot().items()} == {
        "a": {"e2e-llama-cpp-m1-0", "e2e-llama-cpp-m3-0", ROUTER, *CLIENTS},
        "b": {"e2e-llama-cpp-m2-0", *SERVERS},
    }
    ends = {host: pair.snapshot()[host][name] for host, name in (("a", CLIENT), ("b", SERVER))}
    pair.declare(models=[m1, m3])
    pair.site.apply()
    assert {name: set(rows) for name, rows in pair.snapshot().items()} == {
        "a": {"e2e-llama-cpp-m1-0", ROUTER, *CLIENTS},
        "b": {"e2e-llama-cpp-m3-0", *SERVERS},
    }
    # the same processes as before lead there now
    assert ends == {h: pair.snapshot()[h][name] for h, name in (("a", CLIENT), ("b", SERVER))}
    assert pair.ask(model="m3") == "e2e-llama-cpp-m3-0"


# one replica on both: vLLM's stand-in meets as vLLM does, and does not notice that a host is gone


@pytest.fixture(scope="module")
def wide(pair: Pair, everywhere: Registry) -> Callable[..., None]:
    """Declares a model that lies on both hosts, with these settings of its own."""
    images = pair.base["images"] | {"vllm-cpu": everywhere.publish(fake_vllm.build())}
    engine = {
        **{"kind": "vllm", "nnodes": 2, "trusted_network": True, "offline": True},
        "cpu_kvcache_space": 1,
        "drain_seconds": 5,
        "start_timeout_seconds": START_TIMEOUT_SECONDS,
        "env": {"FAKE_VLLM_ANY_WEIGHTS": "1"},
    }

    def declare(**model: Any) -> None:
        pair.declare(models=[{"name": WIDE, **model}], engine=engine, images=images)

    return declare


def test_one_replica_lies_on_both(pair: Pair, wide: Callable[..., None]) -> None:
    wide(max_model_len=4096)
    planned = pair.site.apply()
    new = {("create", f"container {name}") for name in (ASKED, NODE)}
    assert new <= planned.announced
    assert {name: set(rows) for name, rows in pair.snapshot().items()} == {
        "a": {ASKED, ROUTER},
        "b": {NODE},
    }
    assert pair.ask(expected="if n < 2", model=WIDE) == ASKED


def test_a_replica_that_loses_one_of_its_hosts_meets_again(pair: Pair) -> None:
    before = pair.snapshot()
    pair.hosts["b"].run(f"kill -9 $(docker inspect -f '{{{{.State.Pid}}}}' {NODE})")
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while not (_started_again(before, pair.snapshot()) and _is_well(pair)):
        assert time.monotonic() < deadline, pair.site.atelier("status").stdout
    assert pair.ask(expected="if n < 2", model=WIDE) == ASKED
    status = json.loads(pair.site.atelier("status", "--json").stdout)
    restarts = {row["service"]: row["restarts"]["count"] for row in status["services"]}
    assert min(restarts[ASKED], restarts[NODE]) > 0
    assert restarts[ROUTER] == 0
    assert pair.deploy().changes == []


def _started_again(before: Snapshot, now: Snapshot) -> bool:
    """Both containers, and they are the same."""
    pairs = [(before["a"][ASKED], now["a"][ASKED]), (before["b"][NODE], now["b"][NODE])]
    return all(old[0] == new[0] and old[2] != new[2] for old, new in pairs)


def _is_well(pair: Pair) -> bool:
    return bool(json.loads(pair.site.atelier("status", "--json").stdout)["ok"])


def test_one_that_does_not_start_on_one_host_brings_back_both(
    pair: Pair, wide: Callable[..., None]
) -> None:
    before, host = pair.snapshot(), pair.hosts["b"]
    wide(max_model_len=2048)
    reference = pair.site.settings["images"]["vllm-cpu"]["reference"]
    image = host.run(f"docker image inspect -f '{{{{.Id}}}}' {reference}")
    host.run(f"tar -c --files-from /dev/null | docker import - {reference}")
    result = pair.site.deploy()
    host.run(f"docker tag {image} {reference}")
    assert result.status == 1
    assert f"container {NODE} does not start" in result.output
    assert f"{ASKED}: the containers before it serve again on all hosts" in result.output
    assert "Starting operation: Run the routers" not in result.output
    assert _ids(pair.snapshot()) == _ids(before)
    assert pair.ask(expected="if n < 2", model=WIDE) == ASKED


def test_a_changed_setting_replaces_both(pair: Pair, wide: Callable[..., None]) -> None:
    """It is what the run before this one could not do."""
    before = pair.snapshot()
    wide(max_model_len=2048)
    planned = pair.site.apply()
    both = {("recreate", f"container {name}") for name in (ASKED, NODE)}
    assert both <= planned.announced
    now = _ids(pair.snapshot())
    assert now["a"].keys() | now["b"].keys() == {ASKED, NODE, ROUTER}
    assert now["a"][ASKED] != before["a"][ASKED][0]
    assert now["b"][NODE] != before["b"][NODE][0]
    assert pair.ask(expected="if n < 2", model=WIDE) == ASKED


def _ids(found: Snapshot) -> dict[str, dict[str, str]]:
    return {host: {name: row[0] for name, row in rows.items()} for host, rows in found.items()}


def test_what_one_compiled_is_carried_to_a_new_one(pair: Pair, everywhere: Registry) -> None:
    """With a stand-in for vLLM, and files as compilers leave them."""
    name = "qwen2.5-coder-0.5b"
    volume, cache = f"e2e-vllm-{name}", "/root/.cache/vllm"
    first, second = f"{volume}-0", f"{volume}-1"
    engine: Settings = {"kind": "vllm", "offline": True, "cpu_kvcache_space": 1}
    # it wants a card, and takes this directory in its container for one
    engine["env"] = {"FAKE_VLLM_ANY_WEIGHTS": "1", "NVIDIA_VISIBLE_DEVICES": "0"}
    image = everywhere.publish(fake_vllm.build())
    settings = {"engine": engine, "images": pair.base["images"] | {"vllm-cpu": image}}

    pair.declare(models=[{"name": name, "replicas": 1}], **settings)
    pair.deploy()
    graph = f"{cache}/torch_compile_cache/ab12/rank_0_0"
    pair.hosts["a"].run(
        f"docker exec {first} sh -c 'mkdir -p {graph} && head -c 3000000 /dev/urandom"
        f" >{graph}/model && echo sk-key >{graph}/cache_key_factors.json'"
    )
    pair.declare(models=[{"name": name, "replicas": 2}], **settings)
    planned, made = pair.site.dry_run(), pair.deploy()
    assert made.announcements == planned.announcements, made.output
    assert ("b", f"volume {volume}") in {
        (row["host"], row["resource"]) for row in made.changes if row["action"] == "fill"
    }
    digests = [
        pair.hosts[host].run(f"docker exec {engine} sha256sum {graph}/model")
        for host, engine in (("a", first), ("b", second))
    ]
    assert digests[0] == digests[1]
    assert pair.hosts["b"].run(f"docker exec {second} ls -A {graph}").split() == ["model"]
    for host in pair.hosts.values():
        assert not host.run("find /var/lib/atelier /tmp -name '*.tar.gz*'")
        assert "carrier" not in host.run("docker ps --all --format '{{.Names}}'")

    pair.declare(models=[{"name": name, "replicas": 1}], **settings)
    pair.deploy()
    assert volume in pair.hosts["a"].run("docker volume ls --quiet").split()
    assert volume not in pair.hosts["b"].run("docker volume ls --quiet").split()


def test_routers_and_web_ui_move_away_from_the_entry(
    pair: Pair, everywhere: Registry, third: Callable[..., str]
) -> None:
    """The router leaves a for b, as two, with a web UI; people reach the entry on a alone."""
    router = {key: value for key, value in pair.base["router"].items() if key != "listen"}
    pair.base |= {
        "router": router | {"host": "b", "replicas": 2},
        "web_ui": {"host": "b", "start_timeout_seconds": START_TIMEOUT_SECONDS},
        "entry": {"host": "a", "requests_per_minute": 60_000},
        "images": pair.base["images"] | everywhere.provide("open-webui"),
    }
    pair.declare()
    # it ends with a login and a chat in the web UI, through the entry
    pair.site.apply()
    found = pair.snapshot()
    link = ("e2e-link-server-a-0", "e2e-listener-server-a-0")
    assert set(found["a"]) == {ENGINES[0], "e2e-listener-0", ENTRY, *link}
    assert set(found["b"]) == {ENGINES[1], *ROUTERS, WEB_UI, *CLIENTS, *SERVERS}
    # beside SSH and the entry there is the link, on each host
    ports = {name: third("ports", host.address) for name, host in pair.hosts.items()}
    assert ports == {"a": "[22, 80, 443, 8443]", "b": "[22, 8443]"}
    status = json.loads(pair.site.atelier("status", "--json").stdout)
    days = {row["service"]: row["certificate_days"] for row in status["services"]}
    assert status["ok"] is True
    assert days[ENTRY] == days[SERVER] == CERTIFICATE_DAYS - 2


def test_the_web_ui_s_websocket_is_open_through_the_link(pair: Pair) -> None:
    url = f"https://{pair.hosts['a'].address}"
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(b"sixteen bytes...").decode(),
        "Origin": url,
    }
    path = f"{url}/ws/socket.io/?EIO=4&transport=websocket"
    trusted = ssl.create_default_context(cadata=pair.site.atelier("ca").stdout)
    with (
        httpx.Client(verify=trusted, trust_env=False) as client,
        client.stream("GET", path, headers=headers) as reply,
    ):
        assert reply.status_code == 101
        raw = reply.extensions["network_stream"].read(4096, timeout=30)
    # the first packet of Engine.IO (https://socket.io/docs/v4/engine-io-protocol/#handshake)
    assert b'0{"sid":' in raw


def test_routers_and_certificates_are_replaced_and_no_request_fails(pair: Pair) -> None:
    before, host = pair.snapshot(), pair.hosts["a"]
    path = pair.site.directory / ".secrets" / "e2e.yaml"
    kept = yaml.safe_load(path.read_text())
    kept["links"]["pairs"] = {}
    trusted = ssl.create_default_context(cadata=pair.site.atelier("ca").stdout)
    load = Load(f"https://{host.address}", MASTER_KEY, "tiny-coder", verify=trusted)
    with steady_load(load) as wait_for:
        wait_for(20)
        path.write_text(yaml.safe_dump(kept))
        rotated = pair.deploy()
        wait_for(20)
        assert load.failures == []
        assert pair.snapshot() == before
        pair.declare(router__num_retries=3)
        done, again = pair.deploy(), pair.deploy()
        wait_for(20)
    made = {action for action, _ in rotated.announced if "certificate for" in action}
    assert len(made) == 4
    assert again.changes == []
    assert ("recreate", f"container {ROUTERS[0]}") in done.announced
    after = pair.snapshot()
    assert after["a"] == before["a"]
    assert not {after["b"][name][0] for name in ROUTERS} & {before["b"][n][0] for n in ROUTERS}
    assert load.failures == []
    assert load.answered >= 60
    said = host.run(f"docker exec {ENTRY} bash -c '{ASK_ENTRY}'")
    assert router_states(said) == dict.fromkeys(ROUTERS, "UP")
    assert host.run("ls /var/lib/atelier/deployments/e2e/live/haproxy/draining") == ""
