"""The end of a link on a Mac: HAProxy as a daemon of launchd, and the engines behind it."""

from __future__ import annotations

import base64
import io
import re
import tarfile
from typing import Any

import pytest
import yaml
from pyinfra.api import StringCommand

from deploy.artefacts import Artefacts
from deploy.operations import file_tree
from deploy.services import ConfigTree, LaunchdSpec, Tier, Unit
from tests.conftest import MakeArtefacts
from tests.services.test_launchd import PROGRAM, engine_of, on_a_mac, property_list_of

OLLAMA = {"kind": "ollama"}
ENGINE = "demo-ollama-qwen2.5-coder-7b-0"
LINK = "demo-link-server-mac-0"
STATE = "/var/lib/atelier.demo/link"
CURRENT = "/var/lib/atelier/deployments/demo/config/link-server/current"


@pytest.fixture
def artefacts(make: MakeArtefacts) -> Artefacts:
    return on_a_mac(make, engine=OLLAMA)


def link_of(artefacts: Artefacts) -> tuple[Unit, LaunchdSpec, ConfigTree]:
    [unit] = [unit for unit in artefacts.stack.on("mac") if unit.tier == Tier.LINK and unit.config]
    assert isinstance(unit.runs, LaunchdSpec)
    assert unit.config is not None
    return unit, unit.runs, unit.config


def config_of(artefacts: Artefacts) -> str:
    content = link_of(artefacts)[2].files["haproxy.cfg"].content
    assert isinstance(content, str)
    return content


def test_haproxy_runs_as_the_account_of_the_engines(artefacts: Artefacts) -> None:
    unit, runs, _ = link_of(artefacts)
    found = property_list_of(unit, artefacts)
    shell, option, script, *given = found["ProgramArguments"]
    assert (shell, option, given[0]) == ("/bin/sh", "-c", "watch_on_mac.sh")
    assert given[1:] == ["/opt/homebrew/bin/haproxy", CURRENT, STATE, "20"]
    assert '-x "$state/runtime" -sf' in script
    assert (found["Label"], found["UserName"]) == (LINK, "ollama")
    assert found["WorkingDirectory"] == STATE
    assert found["ExitTimeOut"] > 20
    assert f"--unix-socket {STATE}/health" in runs.health
    assert runs.listens == (("10.0.0.21", 8443),)
    # its port, and none of the loopback interface, which everybody on the Mac reaches
    assert unit.holds.ports == {8443}
    assert re.findall(r"^ *bind (\S+)", config_of(artefacts), re.M) == [
        f"unix@{STATE}/health",
        "10.0.0.21:8443",
    ]
    assert f"stats socket unix@{STATE}/runtime mode 600 level admin" in config_of(artefacts)


def test_paths_of_sockets_are_short_enough_for_macos(make: MakeArtefacts) -> None:
    """104 bytes with the one at their end, and HAProxy binds to a longer name first."""
    longest = on_a_mac(make, engine=OLLAMA, name="d" * 40)
    paths = re.findall(r"unix@(\S+)", config_of(longest))
    assert len(paths) == 2
    assert max(len(f"{path}.4194304.tmp") for path in paths) < 104


def test_the_same_tls_as_everywhere(artefacts: Artefacts, make: MakeArtefacts) -> None:
    """But for what is a container's: who asks Docker where engines are, its user, its listener."""
    hosts = [{"name": "web", "address": "10.0.0.20"}, {"name": "h2", "address": "10.0.0.21"}]
    linux = make(hosts=hosts, models=[{"name": "tiny-coder", "replicas": 2}])
    [unit] = [unit for unit in linux.stack.on("h2") if unit.tier == Tier.LINK and unit.config]
    assert unit.config is not None
    theirs = str(unit.config.files["haproxy.cfg"].content)
    wanted = re.compile(
        r"^ *(?:ssl-|tune\.(?!listener)|bind.* ssl|hard-stop|timeout (?:client|server)).*", re.M
    )

    def told(text: str) -> list[str]:
        return [line.replace("10.0.0.21:", ":") for line in wanted.findall(text)]

    assert told(config_of(artefacts)) == told(theirs)
    assert len(told(theirs)) == 8
    assert not re.search(r"resolvers|^ *[ug]id ", config_of(artefacts), re.M)


def test_its_key_belongs_to_that_account(artefacts: Artefacts) -> None:
    _, _, tree = link_of(artefacts)
    assert {name: (file.owner, file.mode) for name, file in tree.files.items()} == {
        "authority.pem": (None, 0o644),
        "haproxy.cfg": (None, 0o644),
        "link.pem": (None, 0o644),
        "link.pem.key": ("ollama", 0o600),
    }
    [command] = file_tree.write(tree, artefacts.secrets)
    assert isinstance(command, StringCommand)
    assert "--same-owner" in command.get_raw_value()
    packed = base64.b64decode(str(command.connector_arguments["_stdin"]))
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        assert archive.getmember("link.pem.key").uname == "ollama"
        assert archive.getmember("link.pem").uname == ""


def test_new_files_are_tried_by_that_account_and_waited_for(artefacts: Artefacts) -> None:
    watch = link_of(artefacts)[2].watch
    assert watch is not None
    new = CURRENT.replace("current", ".new")
    assert watch.check[:5] == ("sudo", "-n", "-u", "ollama", "/opt/homebrew/bin/haproxy")
    assert watch.check[5:] == ("-c", "-C", new, "-f", "haproxy.cfg")
    assert f"[ {CURRENT} -nt {STATE}/taken ]" in watch.wait[-1]


def test_engines_listen_on_the_mac_alone(artefacts: Artefacts) -> None:
    found = property_list_of(engine_of(artefacts), artefacts)
    assert found["EnvironmentVariables"]["OLLAMA_HOST"] == "127.0.0.1:8000"
    assert "server asked 127.0.0.1:8000\n" in config_of(artefacts)
    [router] = [unit for unit in artefacts.stack.units if unit.runs.service == "litellm"]
    assert router.config is not None
    config = yaml.safe_load(str(router.config.files["config.yaml"].content))
    [base] = {row["litellm_params"]["api_base"] for row in config["model_list"]}
    assert base.removesuffix("/v1") == f"http://demo-listener-client-0:8080/{ENGINE}"


def test_requests_are_kept_away_while_it_is_replaced(artefacts: Artefacts) -> None:
    unit, _, _ = link_of(artefacts)
    assert unit.route is not None
    assert (unit.route.host, unit.route.names, unit.route.port) == ("web", (ENGINE,), 8443)


@pytest.mark.parametrize(
    ("declared", "program", "version"),
    [
        ({"path": "/opt/local/sbin/haproxy"}, "/opt/local/sbin/haproxy", "haproxy"),
        (
            PROGRAM | {"archive": "https://lab.example/haproxy.tgz", "version": "3.2.6"},
            f"/var/lib/atelier/programs/haproxy/{'ab' * 8}/haproxy",
            "haproxy 3.2.6",
        ),
    ],
)
def test_another_haproxy_than_homebrews(
    make: MakeArtefacts, declared: dict[str, Any], program: str, version: str
) -> None:
    mac = {"programs": {"ollama": PROGRAM, "haproxy": declared}}
    _, runs, _ = link_of(on_a_mac(make, mac=mac, engine=OLLAMA))
    assert (runs.command[4], runs.version) == (program, version)
