"""Docker's fact and what a host reaches: parsed, and really run on this machine."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest

from deploy.facts.docker import Docker
from deploy.facts.surroundings import Surroundings
from deploy.hosts.state import DockerState, System

OS = [
    "@os",
    "ID=ubuntu",
    "ID_LIKE=debian",
    'PRETTY_NAME="Ubuntu 24.04.1 LTS"',
    'VERSION_ID="24.04"',
]
DAEMON_JSON = '{\n  "debug": true\n}\n'


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_everything_there() -> None:
    output = [
        *(*OS, "VERSION_CODENAME=noble", "UBUNTU_CODENAME=noble"),
        *("@kernel", "Linux x86_64", "@uid", "0", "@systemd", "yes"),
        *("@dockerd", "/usr/bin/dockerd", "@podman"),
        *("@info", '{"version":"27.5.1","running":2,"swarm":"inactive"}'),
        *("@enabled", "enabled", "@installed_by_atelier", "docker.io"),
        *("@daemon_json", encoded(DAEMON_JSON), "@has_daemon_json", "yes"),
        *("@loaded_json", encoded("{}")),
    ]
    assert Docker().process(output) == DockerState(
        system=System(
            *("ubuntu", ("debian",), "Ubuntu 24.04.1 LTS", "24.04", "noble", "Linux x86_64"),
            has_systemd=True,
            is_root=True,
        ),
        is_installed=True,
        answers=True,
        version="27.5.1",
        unit_is_enabled=True,
        installed_by_atelier=True,
        running_containers=2,
        daemon_json=DAEMON_JSON,
        loaded_json="{}",
    )


def test_a_stopped_daemon() -> None:
    """docker info prints the template with an empty version then."""
    info = '{"version":"","running":0,"swarm":""}'
    found = Docker().process(
        ["@dockerd", "/usr/bin/dockerd", "@info", info, "@enabled", "disabled"]
    )
    assert (found.is_installed, found.answers, found.unit_is_enabled) == (True, False, False)


def test_an_empty_daemon_json_is_one() -> None:
    found = Docker().process(["@daemon_json", "", "@has_daemon_json", "yes"])
    assert found.daemon_json == ""
    assert Docker().process(["@daemon_json", "@has_daemon_json"]).daemon_json is None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("sh", "stat", "cat", "base64", "grep", "head", "id", "uname"):
        (folder / tool).symlink_to(f"/usr/bin/{tool}")
    return folder


def run(command: str, path: Path) -> list[str]:
    finished = subprocess.run(
        ["/bin/sh", "-c", command], env={"PATH": str(path)}, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.splitlines()


def test_the_command_runs_where_there_is_nothing(path: Path) -> None:
    command = str(Docker().command()).replace("/usr/sbin:/usr/local/bin", "")
    command = command.replace("/etc/docker/", f"{path}/none/")
    found = Docker().process(run(command, path))
    assert found.system.id
    assert (found.is_installed, found.answers, found.daemon_json) == (False, False, None)


def test_podmans_docker(path: Path) -> None:
    podman = '#!/bin/sh\n[ "$1" = --version ] && echo podman version 5.2.2\n'
    (path / "docker").write_text(podman)
    (path / "docker").chmod(0o755)
    assert Docker().process(run(str(Docker().command()), path)).is_podman


def test_surroundings_with_nothing_to_ask_with(path: Path) -> None:
    command = str(Surroundings().command(urls=("https://no.invalid/v2/",)))
    found = Surroundings().process(run(command, path))
    assert found.resolved == {"no.invalid": False}
    assert found.reached == {
        "https://no.invalid/v2/": "neither curl nor python3 is there to ask with"
    }


def test_names_that_are_looked_for_besides(path: Path) -> None:
    command = str(Surroundings().command(urls=(), names=("ai.invalid",)))
    assert Surroundings().process(run(command, path)).resolved == {"ai.invalid": False}


@pytest.mark.parametrize("tool", ["curl", "python3"])
def test_surroundings_that_do_not_answer(path: Path, tool: str) -> None:
    (path / tool).write_text("#!/bin/sh\nprintf 000\nexit 6\n")
    (path / tool).chmod(0o755)
    found = Surroundings().process(run(str(Surroundings().command(urls=("https://a/",))), path))
    assert found.reached["https://a/"] in {"curl error 6", "000"}
