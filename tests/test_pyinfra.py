"""The whole command line of pyinfra, on hosts of its ``@fake`` connector.

Such a host has no services that could answer, so runs that execute leave out the last step of
deploy.py, the verification.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from deploy.artefacts import Artefacts, make_artefacts
from deploy.errors import AtelierError
from deploy.inventory import load_inventory
from tests.cli.run import run as run_command
from tests.fake_host import (
    BARE_DOCKER,
    BARE_ENGINE,
    ENGINE,
    LOCK,
    Responses,
    bare,
    converged,
    fresh,
    with_look,
)
from tests.recognisable import LEAK, write_secrets
from tests.warm import run_warm

ROOT = Path(__file__).parent.parent
INVENTORY = """
import json
from pathlib import Path

from deploy import Deployment, Host, Model, Router, Secret, WebUI, pyinfra_hosts

deployment = Deployment(
    name="demo",
    profile="individual",
    hosts=[Host(name="@fake/h1")],
    models=[Model(name="tiny-coder")],
    image_source="pull",
    # more
)

responses = json.loads((Path(__file__).parent / "responses.json").read_text())
fake = {"fake_delay": 0, "fake_delay_jitter": 0}
hosts = [
    (name, data | fake | {"fake_responses": responses.get(name, responses)})
    for name, data in pyinfra_hosts(deployment, __file__)
]
"""
EVERYTHING = [
    "Check the host",
    "Install and configure Docker",
    "Keep generated secrets",
    "Provide images",
    "Create network and volumes",
    "Copy model file tiny-coder-q8_0.gguf",
    "Prepare routers and entry",
    "Run the engines",
    "All engines run",
    "Forget the engines' old key",
    "Run the routers",
    "All routers run",
    "Run the web UIs",
    "All web UIs run",
    "Remove what the plan no longer has",
    "Ask every service",
]
UNCHANGING = [
    "Check the host",
    "Install and configure Docker",
    "All engines run",
    "Forget the engines' old key",
    "All routers run",
    "All web UIs run",
    "Remove what the plan no longer has",
    "Ask every service",
]
"""What changes nothing on a fresh host."""
LOOKS = 1
"""Commands by which a run that changes nothing looks at a host."""


@dataclass
class Site:
    """An inventory of one fake host, and what the host answers."""

    directory: Path
    responses: Any = field(default_factory=fresh)

    @property
    def inventory(self) -> Path:
        return self.directory / "site.py"

    def declare(self, more: str = "") -> Artefacts:
        """Write the inventory, with more settings than usual."""
        self.inventory.write_text(INVENTORY.replace("# more", more))
        self.answer(fresh())
        (self.directory / "responses.json").write_text("{}")
        declared = load_inventory(self.inventory)
        return make_artefacts(declared.spec, declared.directory)

    def answer(self, responses: Responses | dict[str, Responses]) -> None:
        """What the host answers; or each host, by its name."""
        self.responses = responses

    def write_responses(self) -> None:
        """Write the responses, also to the one look that the declared deployment takes."""
        responses = self.responses
        (self.directory / "responses.json").write_text("{}")
        try:
            declared = load_inventory(self.inventory)
            artefacts = make_artefacts(declared.spec, declared.directory)
        except AtelierError:
            artefacts = None
        if artefacts:
            names = [host.name for host in artefacts.spec.hosts]
            responses = {
                name: with_look(artefacts, name, self.responses.get(name, self.responses))
                for name in names
            }
        (self.directory / "responses.json").write_text(json.dumps(responses))

    def keep_secrets(self) -> None:
        write_secrets(self.directory / ".secrets" / "demo.yaml")

    def run(self, *arguments: str, deploy: str = "deploy.py") -> subprocess.CompletedProcess[str]:
        self.write_responses()
        return run_warm("pyinfra", str(self.inventory), deploy, *arguments)

    def execute(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run everything but the verification."""
        deploy = (ROOT / "deploy.py").read_text()
        last = "verify.ask(deployment)\n"
        assert deploy.endswith(last)
        path = self.directory / "all_but_verify.py"
        path.write_text(deploy.removesuffix(last))
        return self.run("-y", *arguments, deploy=str(path))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def plan(result: subprocess.CompletedProcess[str]) -> dict[str, bool]:
    """Every operation, and whether it would change the host."""
    assert result.returncode == 0, result.stderr
    rows: list[dict[str, Any]] = json.loads(result.stdout)["plan"]
    assert not any(row["hosts_with_conditional_change"] for row in rows)
    return {row["name"]: bool(row["hosts_with_change"]) for row in rows}


def test_a_fresh_host_gets_everything(site: Site) -> None:
    site.declare()
    found = plan(site.run("--dry", "--json"))
    assert list(found) == EVERYTHING
    assert [name for name, changed in found.items() if not changed] == UNCHANGING
    assert not (site.directory / ".secrets").exists()


def test_a_converged_host_gets_nothing(site: Site) -> None:
    site.keep_secrets()
    site.answer(converged(site.declare()))
    result = site.run("--dry", "--json", "--diff")
    found = plan(result)
    assert list(found) == EVERYTHING
    assert not any(found.values())
    assert "Will " not in result.stderr


def test_a_converged_host_stays_unchanged_when_executed(site: Site) -> None:
    site.keep_secrets()
    site.answer(converged(site.declare()))
    result = site.execute("--json", "-vvv")
    assert result.returncode == 0, result.stderr
    results = json.loads(result.stdout)["results"]
    assert results["totals"]["success"] == 0
    assert results["totals"]["error"] == 0
    assert results["failed_hosts"] == []
    # each costs two round trips: one look for each operation that looks
    assert result.stderr.count("Loaded fact") == LOOKS


def test_one_changed_setting_changes_one_container(site: Site) -> None:
    site.keep_secrets()
    before = converged(site.declare())
    site.declare("web_ui=WebUI(memory_limit='1GiB'),")
    site.answer(before)
    result = site.run("--dry", "--json", "--diff")
    assert [name for name, changed in plan(result).items() if changed] == ["Run the web UIs"]
    assert "memory_bytes: 2147483648 -> 1073741824" in result.stderr


def test_a_first_deployment_does_what_its_dry_run_says(site: Site) -> None:
    """And no secret is in anything that the loudest run prints."""
    site.keep_secrets()
    site.declare()
    result = site.execute("--json", "-vvv", "--diff")
    assert result.returncode == 0, result.stderr
    assert LEAK not in result.stdout + result.stderr
    assert "docker network create" in result.stderr
    rows = json.loads(result.stdout)["results"]["operations"]
    executed = [row["name"] for row in rows if row["success"]]
    assert executed == [name for name in EVERYTHING if name not in UNCHANGING]


def test_a_bare_host_gets_docker_and_everything_else(site: Site) -> None:
    site.declare()
    site.answer(bare())
    result = site.run("--dry", "--json", "--diff")
    found = plan(result)
    assert list(found) == EVERYTHING
    assert found["Install and configure Docker"]
    assert "Will install Docker from Debian's packages" in result.stderr
    assert "packages: (none) -> docker.io iptables ca-certificates" in result.stderr
    assert "live-restore: (none) -> true" in result.stderr


def test_a_bare_host_with_a_card_gets_its_driver_first(site: Site) -> None:
    """The dry run names the driver and why, and where the run will end."""
    card = 'hosts=[Host(name="@fake/h1", gpus="1x h100", driver=Driver())],'
    text = INVENTORY.replace('hosts=[Host(name="@fake/h1")],', card)
    site.inventory.write_text(text.replace("Deployment, Host", "Deployment, Driver, Host"))
    fixtures = ROOT / "tests" / "facts" / "fixtures"
    drivers = (fixtures / "drivers" / "nouveau.txt").read_text().splitlines()
    site.answer(bare() | {"section nvswitches": drivers, "@nvidia_status": ["@pci"]})
    result = site.run("--dry", "--json", "--diff")
    found = plan(result)
    names = list(found)
    assert names[:5] == [
        *("Check the host", "Install GPU drivers", "Set up the GPUs of @fake/h1"),
        *("Restart @fake/h1 for its GPUs", "Install and configure Docker"),
    ]
    for words in (
        "driver: (none) -> 580, open kernel modules, NVIDIA's repository",
        "because branch 580 (long term) has updates until 2028-06",
        "because open modules drive Ampere",
        "Will end the run before a restart of host @fake/h1",
        "reason: the module nouveau is loaded",
    ):
        assert words in result.stderr, result.stderr


@pytest.mark.parametrize(
    ("more", "docker", "message"),
    [
        (
            'hosts=[Host(name="@fake/h1", docker="present")],',
            BARE_DOCKER,
            ["Docker: docker: not found", "install and start Docker"],
        ),
        (
            "",
            [line for line in BARE_DOCKER if line != "0"],
            ["docker: only root can install and configure Docker", "sudo=True"],
        ),
    ],
    ids=["left alone", "not root"],
)
def test_a_host_that_docker_cannot_be_brought_to_is_refused_before_anything_is_done(
    site: Site, more: str, docker: list[str], message: list[str]
) -> None:
    site.declare()
    if more:
        declared = 'hosts=[Host(name="@fake/h1")],'
        site.inventory.write_text(INVENTORY.replace(declared, more))
    site.answer({"@engine": BARE_ENGINE, "@dockerd": docker})
    result = site.run("--dry", "--json")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    for part in message:
        assert part in result.stderr


@pytest.mark.parametrize(
    ("more", "message"),
    [
        # found while the inventory is read, and while deploy.py is
        ("modles=[],", "modles: unknown setting"),
        (
            "secrets={'router_master_key': Secret(env='ATELIER_NOT_SET')},",
            "secrets.router_master_key: the environment variable ATELIER_NOT_SET is not set",
        ),
    ],
)
def test_mistakes_are_explained_without_a_traceback(site: Site, more: str, message: str) -> None:
    site.inventory.write_text(INVENTORY.replace("# more", more))
    site.answer(fresh())
    result = site.run("--dry")
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def test_an_inventory_without_a_deployment_is_explained(site: Site) -> None:
    site.inventory.write_text('hosts = ["@fake/h1"]\n')
    result = site.run("--dry")
    assert result.returncode == 1
    assert "@fake/h1: no deployment is declared for this host" in result.stderr
    assert "Traceback" not in result.stderr


def test_secrets_that_cannot_be_kept_are_given_to_no_host(site: Site) -> None:
    # a place that nobody, not even root, may write to
    site.inventory.write_text(INVENTORY.replace("# more", "secrets_file='/proc/nowhere/lab.yaml',"))
    site.answer(fresh())
    result = site.execute()
    assert result.returncode == 1
    assert "/proc/nowhere/lab.yaml: the file of secrets cannot be written: No such" in result.stderr
    assert "Traceback" not in result.stderr
    assert "Starting operation: Provide images" not in result.stderr


def test_hosts_of_two_deployments_are_not_mixed(site: Site) -> None:
    another = "pyinfra_hosts(deployment.model_copy(update={'name': 'other'}), __file__)"
    site.inventory.write_text(f"{INVENTORY}\nothers = {another}\n")
    site.answer(fresh())
    result = site.run("--dry")
    assert result.returncode == 1
    assert f"{site.inventory}: 2 deployments" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_inventory_may_read_another_one(site: Site) -> None:
    other = site.inventory.with_name("other.py")
    other.write_text(INVENTORY.replace('"demo"', '"other"'))
    site.inventory.write_text(f"import runpy\nrunpy.run_path({str(other)!r})\n{INVENTORY}")
    site.answer(fresh())
    result = site.run("--dry", "--diff")
    assert result.returncode == 0, result.stderr
    changes = "demo-litellm-0", "other-litellm-0"
    assert [name in result.stdout + result.stderr for name in changes] == [True, False]


def atelier(site: Site, verb: str, *arguments: str, status: int = 0) -> str:
    """What the command prints of the site."""
    site.write_responses()
    return run_command(verb, str(site.inventory), *arguments, status=status)


def test_check_lists_each_pending_change(site: Site) -> None:
    site.keep_secrets()
    before = converged(site.declare())
    site.declare("router=Router(port=4001),")
    site.answer(before)
    report = json.loads(atelier(site, "check", "--json", status=2))
    assert report["pending"] == len(report["changes"])
    changed = [change for change in report["changes"] if change["resource"].endswith("litellm-0")]
    assert changed == [
        {
            "host": "@fake/h1",
            "resource": "container demo-litellm-0",
            "action": "recreate",
            "fields": [{"field": "ports[0].host_port", "old": "4000", "new": "4001"}],
        }
    ]


def test_what_can_not_be_deployed_any_more_can_be_removed(site: Site) -> None:
    key, weights = "Secret(env='ATELIER_NOT_SET')", "Model(name='mine', path='gone.gguf')"
    site.inventory.write_text(
        INVENTORY.replace("# more", f"secrets={{'router_master_key': {key}}},").replace(
            'Model(name="tiny-coder")', weights
        )
    )
    site.answer({"echo '@directory'": ["@directory", "@containers", "demo-litellm-0"], **LOCK})
    assert "models[0].path: no file at" in atelier(site, "doctor", "--json", status=1)
    assert atelier(site, "down", "--yes").splitlines() == [
        "  @fake/h1: remove container demo-litellm-0",
        "removed 1",
    ]


def test_check_of_a_bad_inventory_is_an_error_and_not_a_change(site: Site) -> None:
    site.inventory.write_text(INVENTORY.replace("# more", "modles=[],"))
    site.answer(fresh())
    report = json.loads(atelier(site, "check", "--json", status=1))
    assert "modles: unknown setting" in report["error"]
    assert "Traceback" not in report["error"]


def test_doctor_finds_nothing_wrong(site: Site) -> None:
    site.declare()
    site.answer(
        fresh() | {"@resolved": ["@resolved", "yes ghcr.io", "@reached", "https://ghcr.io/v2/ 401"]}
    )
    report = json.loads(atelier(site, "doctor", "--json"))
    assert report["ok"] is True
    found = {finding["name"]: finding["status"] for finding in report["findings"]}
    assert found == {
        "connection": "ok",
        "operating system": "ok",
        "Docker": "ok",
        "ports": "ok",
        "memory": "ok",
        "disk": "ok",
        "GPUs": "ok",
        "DNS": "ok",
        "registry": "ok",
    }


def test_doctor_says_what_to_do(site: Site) -> None:
    declared = 'hosts=[Host(name="@fake/h1", docker="present", gpus=["rtx-3090"])],'
    site.declare()
    site.inventory.write_text(INVENTORY.replace('hosts=[Host(name="@fake/h1")],', declared))
    broken = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
    site.answer(bare() | {"@nvidia": ["@nvidia", broken, "@nvidia_status", "9"]})
    findings = json.loads(atelier(site, "doctor", "--json", status=1))["findings"]
    problems = {item["name"]: item for item in findings if item["status"] == "problem"}
    assert set(problems) == {"Docker", "GPU driver"}
    assert problems["GPU driver"]["found"] == broken
    assert "restart the host" in problems["GPU driver"]["fix"]
    assert "cannot be deployed yet" in atelier(site, "doctor", status=1)


def test_doctor_of_hosts_that_cannot_be_reached(site: Site) -> None:
    """Port 1 of this machine: nothing listens there."""
    site.declare()
    hosts = 'hosts=[Host(name="h1", address="127.0.0.1", ssh_port=1)],'
    text = INVENTORY.replace('hosts=[Host(name="@fake/h1")],', hosts)
    site.inventory.write_text(text)
    [finding] = json.loads(atelier(site, "doctor", "--json", status=1))["findings"]
    assert (finding["host"], finding["name"], finding["status"]) == ("h1", "connection", "problem")
    assert "no connection to port 1 of " in finding["found"]
    assert "start the SSH server there" in finding["fix"]


def test_doctor_says_first_what_is_wrong_with_the_declaration(site: Site) -> None:
    site.inventory.write_text(INVENTORY.replace("# more", "modles=[],"))
    report = json.loads(atelier(site, "doctor", "--json", status=1))
    assert "modles: unknown setting" in report["error"]


TWO = (
    'hosts=[Host(name="@fake/h1", address="10.0.0.1"), Host(name="@fake/h2", address="10.0.0.2")],'
)


def declare_two(site: Site, replicas: int = 2) -> None:
    """An engine on each of two hosts."""
    site.declare()
    text = INVENTORY.replace('hosts=[Host(name="@fake/h1")],', TWO)
    model = f'Model(name="tiny-coder", replicas={replicas})'
    site.inventory.write_text(text.replace('Model(name="tiny-coder")', model))


def test_two_hosts_get_their_parts_tier_by_tier(site: Site) -> None:
    declare_two(site)
    result = site.run("--dry", "--json", "--diff")
    assert result.returncode == 0, result.stderr
    rows = json.loads(result.stdout)["plan"]
    changed = {row["name"]: row["hosts_with_change"] for row in rows}
    names = list(changed)
    turns = [f"Change the engines of @fake/{name} while others serve" for name in ("h1", "h2")]
    assert names[names.index("Run the engines") : names.index("All routers run")] == [
        *("Run the engines", *turns, "All engines run"),
        *("Forget the engines' old key", "Run the links", "All links run"),
        "Run the routers",
    ]
    # on a first deployment nobody serves yet: all engines start at once
    assert changed["Run the engines"] == ["@fake/h1", "@fake/h2"]
    assert [changed[name] for name in turns] == [[], []]
    assert changed["Run the links"] == ["@fake/h1", "@fake/h2"]
    assert "make a certificate for fake-h2.link as a server, and keep it in" in result.stderr
    assert changed["Run the routers"] == ["@fake/h1"]
    assert "Will create container demo-litellm-0" in result.stderr
    # what happens on this machine is announced once, and each host is told of the secrets
    assert changed["Keep generated secrets"] == ["@fake/h1", "@fake/h2"]
    assert result.stderr.count("Will generate") == 1


NATIVE = """
    hosts=[
        Host(
            name="@fake/h1",
            address="10.0.0.1",
            engines="native",
            programs={"llama-server": Program(path="/usr/bin/llama-server")},
        ),
        Host(name="@fake/h2", address="10.0.0.2"),
    ],
    router=Router(host="@fake/h2"),
    web_ui=None,
"""


def declare_native(site: Site) -> Artefacts:
    """An engine without a container on one host, the router on the other."""
    declared = 'hosts=[Host(name="@fake/h1")],'
    site.declare()
    text = site.inventory.read_text().replace(declared, NATIVE.strip())
    site.inventory.write_text(text.replace("import Deployment,", "import Deployment, Program,"))
    loaded = load_inventory(site.inventory)
    site.keep_secrets()
    artefacts = make_artefacts(loaded.spec, loaded.directory)
    machine = ["@sizes", "1 /usr/bin/llama-server", *BARE_DOCKER]
    site.answer(
        {
            "@fake/h1": bare() | {"@engine": [*BARE_ENGINE, *machine]},
            "@fake/h2": fresh(),
        }
    )
    return artefacts


def test_an_engine_without_a_container_needs_no_docker(site: Site) -> None:
    declare_native(site)
    result = site.run("--dry", "--diff")
    assert result.returncode == 0, result.stdout + result.stderr
    said = result.stdout + result.stderr
    assert "[@fake/h1] Will create service demo-llama-cpp-tiny-coder-0" in said
    assert "[@fake/h2] Will create container demo-litellm-0" in said
    assert "[@fake/h1] Will install Docker" not in said
    assert "[@fake/h1] Will create network" not in said
    assert LEAK not in said


def test_an_engine_without_a_container_that_runs_stays_as_it_is(site: Site) -> None:
    artefacts = declare_native(site)
    machine = ["@sizes", "1 /usr/bin/llama-server", *BARE_DOCKER]
    answers = {name: converged(artefacts, name) for name in ("@fake/h1", "@fake/h2")}
    answers["@fake/h1"]["@engine"] = [*BARE_ENGINE, *answers["@fake/h1"]["@engine"][-2:], *machine]
    site.answer(answers)
    result = site.run("--dry", "--diff")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Will " not in result.stdout + result.stderr


def test_a_host_without_a_unit_is_fine(site: Site) -> None:
    declare_two(site, replicas=1)
    result = site.run("--dry", "--json")
    rows = json.loads(result.stdout)["plan"]
    assert {row["name"]: row["hosts_with_change"] for row in rows}["Run the engines"] == [
        "@fake/h1"
    ]


def test_engines_that_serve_change_on_one_host_after_the_other(site: Site) -> None:
    site.keep_secrets()
    declare_two(site)
    declared = load_inventory(site.inventory)
    artefacts = make_artefacts(declared.spec, declared.directory)
    artefacts.secrets.save()
    site.answer({name: converged(artefacts, name) for name in ("@fake/h1", "@fake/h2")})
    text = site.inventory.read_text()
    site.inventory.write_text(text.replace("image_source=", "engine={'threads': 1}, image_source="))
    result = site.run("--dry", "--json")
    rows = json.loads(result.stdout)["plan"]
    assert [
        (row["name"], row["hosts_with_change"]) for row in rows if row["hosts_with_change"]
    ] == [
        (f"Change the engines of {name} while others serve", [name])
        for name in ("@fake/h1", "@fake/h2")
    ]


@pytest.mark.parametrize("flags", [("--dry",), (), ("-y",)])
def test_one_host_that_fails_its_check_stops_all(site: Site, flags: tuple[str, ...]) -> None:
    declare_two(site)
    small = [*ENGINE[:4], "1000000000", *ENGINE[5:]]
    site.answer({"@fake/h1": fresh(), "@fake/h2": fresh() | {"@engine": small}})
    result = site.run(*flags)
    assert result.returncode == 1
    assert "@fake/h2 cannot be deployed to" in result.stderr
    started = [line for line in result.stderr.splitlines() if "Starting operation" in line]
    assert all("Check the host" in line for line in started)
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("flags", [(), ("--parallel", "1")])
def test_a_dry_run_says_what_is_wrong_with_each_host_and_nothing_else(
    site: Site, flags: tuple[str, ...]
) -> None:
    """Also where hosts are prepared one after the other."""
    declare_two(site)
    small = {"@engine": [*ENGINE[:4], "1000000000", *ENGINE[5:]]}
    site.answer({"@fake/h1": fresh() | small, "@fake/h2": fresh() | small})
    result = site.run("--dry", "--diff", *flags)
    assert result.returncode == 1
    assert "Will " not in result.stderr
    for name in ("@fake/h1", "@fake/h2"):
        assert f"{name} cannot be deployed to\nmemory: the containers" in result.stderr


def test_secrets_are_made_up_once_for_all_hosts(site: Site) -> None:
    """The data of hosts is copied by pyinfra; what is declared stays one thing."""
    declared = load_inventory(site.inventory) if site.declare() else None
    assert copy(declared) is declared


@pytest.mark.parametrize("flags", [("--dry",), (), ("-y",)])
def test_one_host_down_stops_before_anything_is_done(site: Site, flags: tuple[str, ...]) -> None:
    site.declare()
    hosts = 'hosts=[Host(name="@fake/h1"), Host(name="h2", address="127.0.0.1", ssh_port=1)],'
    site.inventory.write_text(INVENTORY.replace('hosts=[Host(name="@fake/h1")],', hosts))
    result = site.run(*flags)
    assert result.returncode == 1
    assert "fix: nothing answers on port 1" in result.stderr
    assert "Starting operation" not in result.stderr
    assert "Traceback" not in result.stderr


def test_a_failed_engine_stops_what_needs_it_from_whatever_directory(site: Site) -> None:
    site.keep_secrets()
    declare_two(site)
    failed = {"success": False, "stdout": ["it crashed"]}
    broken: Any = fresh() | {"atelier replace": failed}
    site.answer({"@fake/h1": broken, "@fake/h2": fresh()})
    site.write_responses()
    command = [sys.executable, "-m", "pyinfra", str(site.inventory), str(ROOT / "deploy.py"), "-y"]
    result = subprocess.run(
        command,
        cwd=site.directory,
        env=os.environ | {"PYINFRA_PROGRESS": "off", "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 1
    assert "Run the engines" in result.stderr
    assert "it crashed" in result.stderr
    assert "Starting operation: Run the routers" not in result.stderr
