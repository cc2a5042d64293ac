"""A fresh Debian host over SSH: Atelier installs Docker there, configures it and mends it.

Asserted on the host itself, past SSH and past Atelier.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.hosts import USER, Host, run_host
from tests.e2e.names import host_name
from tests.e2e.site import Operator, Settings
from tests.processes import started

NAME = host_name("bare")
MARK = "/etc/docker/installed-by-atelier"
SETTINGS: Settings = {
    "name": "e2e-ssh",
    "profile": "individual",
    "models": [{"name": "tiny-coder"}],
    "image_source": "pull",
}
DEPLOY = """
from deploy.tasks import docker, precheck
from deploy.tasks.current import current_deployment

deployment = current_deployment()
precheck.check(deployment)
docker.install(deployment)
"""
OPERATORS_OWN = {"debug": False, "labels": ["rack=7"], "log-opts": {"tag": "{{.Name}}"}}
ATELIERS = {
    "log-driver": "json-file",
    "log-opts": {"max-size": "50m", "max-file": "3", "tag": "{{.Name}}"},
    "live-restore": True,
}


@dataclass
class Site(Operator):
    """The deployment's first two steps, run from a home directory of its own."""

    directory: Path
    host: Host
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.environment["HOME"] = str(self.directory)
        deploy_file = self.directory / "docker_only.py"
        deploy_file.write_text(DEPLOY)
        self.deploy_file = str(deploy_file)

    def declare(self, **settings: Any) -> None:
        declared: dict[str, Any] = {
            "name": "box",
            "address": self.host.address,
            "ssh_user": USER,
            "ssh_key": str(self.host.key),
            "sudo": True,
        }
        host = {name: value for name, value in (declared | settings).items() if value}
        self.write_settings(SETTINGS | {"hosts": [host]})

    def know_host(self) -> None:
        ssh = self.directory / ".ssh"
        ssh.mkdir(exist_ok=True)
        (ssh / "known_hosts").write_text(self.host.known_host())

    def is_as_declared(self) -> bool:
        """Whether a run changes nothing."""
        result = self.deploy()
        assert result.status == 0, result.output
        return not result.changes

    def doctor(self) -> tuple[int, dict[str, dict[str, Any]]]:
        finished = self.atelier("doctor", "--json")
        findings = json.loads(finished.stdout)["findings"]
        return finished.returncode, {finding["name"]: finding for finding in findings}

    def daemon_json(self) -> dict[str, Any]:
        return dict(json.loads(self.host.run("cat /etc/docker/daemon.json")))

    def daemon_pid(self) -> str:
        return self.host.run("pidof dockerd")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("ssh-site")
    with run_host(NAME, directory) as host:
        site = Site(directory, host)
        site.declare()
        yield site


def test_a_host_that_nobody_knows_is_refused(site: Site) -> None:
    result = site.run("-y")
    assert (result.status, result.changes) == (1, [])
    assert "not found in known_hosts" in result.output or "No host key for" in result.output
    assert f"{USER}@{site.host.address}; or declare ssh_host_keys" in result.output
    code, findings = site.doctor()
    assert code == 1
    assert findings["connection"]["status"] == "problem"
    site.know_host()


def test_a_wrong_key_is_explained(site: Site, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    site.declare(ssh_key=str(other))
    result = site.run("-y")
    site.declare()
    assert result.status == 1
    assert "Authentication failed" in result.output
    assert f"ssh-copy-id -i {other} {USER}@{site.host.address}" in result.output


def test_a_user_without_sudo_is_told_so(site: Site) -> None:
    site.declare(sudo=False)
    result = site.run("--dry")
    site.declare()
    assert result.status == 1
    assert "only root can install and configure Docker" in result.output


def test_doctor_before_docker_is_there(site: Site) -> None:
    code, findings = site.doctor()
    assert code == 0, findings
    assert findings["operating system"]["found"].startswith("Debian GNU/Linux 12")
    assert findings["Docker"]["found"] == "not installed; the deployment will install it"
    assert findings["clock"]["status"] == findings["sudo"]["status"] == "ok"
    assert findings["registry"]["status"] in {"ok", "warning"}


def test_docker_is_installed_and_the_operators_settings_stay(site: Site) -> None:
    assert site.host.run("command -v dockerd", check=False) == ""
    site.host.run("mkdir -p /etc/docker && cat >/etc/docker/daemon.json", json.dumps(OPERATORS_OWN))
    assert site.apply().steps == [
        ("install", "Docker from Debian's packages"),
        ("update", "file /etc/docker/daemon.json"),
        ("enable", "unit docker.service"),
        ("start", "unit docker.service"),
    ]
    assert site.daemon_json() == OPERATORS_OWN | ATELIERS
    assert site.host.run("systemctl is-enabled docker") == "enabled"
    assert site.host.run("systemctl is-active docker") == "active"
    assert site.host.run("dpkg-query -W -f '${Status}' docker.io") == "install ok installed"
    assert site.host.run("docker info --format '{{.LiveRestoreEnabled}}'") == "true"
    assert site.host.run("docker info --format '{{.Labels}}'") == "[rack=7]"
    assert site.host.run(f"test -f {MARK} && echo yes") == "yes"


def test_a_setting_that_can_be_reloaded_is_mended_without_a_restart(site: Site) -> None:
    pid = site.daemon_pid()
    own = site.daemon_json() | {"live-restore": False}
    site.host.run(
        "cat >/etc/docker/daemon.json; kill -HUP $(pidof dockerd); sleep 1", json.dumps(own)
    )
    site.host.run("rm -f /run/atelier-docker-daemon.json")
    assert site.host.run("docker info --format '{{.LiveRestoreEnabled}}'") == "false"
    assert site.apply().content == {
        ("update", "file /etc/docker/daemon.json"): [("live-restore", "false", "true")],
        ("reload", "unit docker.service"): [],
    }
    assert site.host.run("docker info --format '{{.LiveRestoreEnabled}}'") == "true"
    assert site.daemon_pid() == pid


def test_an_altered_setting_needs_a_restart_that_containers_outlive(site: Site) -> None:
    pid = site.daemon_pid()
    site.host.run(
        "tar -ch /bin/sleep $(ldd /bin/sleep | grep -o '/[^ ]*') | docker import - sleeper:1"
    )
    container = site.host.run(
        "docker run -d --network none --name sleeper sleeper:1 /bin/sleep 900"
    )
    started = site.host.run("docker inspect -f '{{.State.StartedAt}}' sleeper")
    altered = site.daemon_json()
    altered["log-opts"]["max-size"] = "1g"
    del altered["log-opts"]["max-file"]
    site.host.run(
        "cat >/etc/docker/daemon.json; rm -f /run/atelier-docker-daemon.json", json.dumps(altered)
    )
    assert site.apply().content == {
        ("update", "file /etc/docker/daemon.json"): [
            ("log-opts.max-file", "(none)", "3"),
            ("log-opts.max-size", "1g", "50m"),
        ],
        ("restart", "unit docker.service"): [("containers", "1 running", "keep running")],
    }
    assert site.daemon_pid() != pid
    assert site.host.run("docker ps -q --no-trunc") == container
    assert site.host.run("docker inspect -f '{{.State.StartedAt}}' sleeper") == started
    site.host.run("docker rm --force sleeper")


def test_declared_settings_win(site: Site) -> None:
    site.declare(docker_settings={"max-concurrent-downloads": 1})
    assert site.apply().steps == [
        ("update", "file /etc/docker/daemon.json"),
        ("reload", "unit docker.service"),
    ]
    site.declare()
    assert site.daemon_json()["max-concurrent-downloads"] == 1


def test_an_interrupted_change_is_mended(site: Site) -> None:
    """As if the host had been lost between writing the file and reloading the daemon."""
    loaded = site.daemon_json()
    loaded["live-restore"] = False
    site.host.run("cat >/run/atelier-docker-daemon.json", json.dumps(loaded))
    assert site.apply().steps == [("reload", "unit docker.service")]


def test_a_stopped_daemon_is_started(site: Site) -> None:
    site.host.run("systemctl disable --now docker.service docker.socket")
    assert site.apply().steps == [
        ("enable", "unit docker.service"),
        ("start", "unit docker.service"),
    ]
    assert site.host.run("systemctl is-active docker") == "active"


def test_settings_that_docker_refuses_do_not_stop_it(site: Site) -> None:
    before = site.daemon_json()
    site.declare(docker_settings={"storage-driver": "no-such-driver"})
    result = site.run("-y")
    site.declare()
    assert result.status == 1
    assert "the one before is back" in result.output or "does not take the new" in result.output
    assert site.daemon_json() == before
    assert site.host.run("docker version --format '{{.Server.Version}}'")


def test_a_file_that_is_no_json_is_refused_with_the_place(site: Site) -> None:
    good = site.host.run("cat /etc/docker/daemon.json")
    site.host.run("printf '{\\n  \"debug\": yes\\n}\\n' >/etc/docker/daemon.json")
    result = site.run("-y")
    site.host.run("cat >/etc/docker/daemon.json", good + "\n")
    assert (result.status, result.changes) == (1, [])
    assert "/etc/docker/daemon.json, line 2, column 12: not JSON" in result.output
    assert site.apply().steps == []


def test_a_run_that_changes_nothing_takes_few_commands(site: Site) -> None:
    """Counted by sshd: whether sudo wants a password, and one look at the host."""
    place = "/etc/ssh/sshd_config.d/verbose.conf"
    site.host.run(f"echo LogLevel VERBOSE >{place}; systemctl restart ssh")
    count = "journalctl --sync; journalctl -u ssh -o cat | grep -c 'Starting session:'"
    before = int(site.host.run(count, check=False))
    assert site.is_as_declared()
    after = int(site.host.run(count))
    site.host.run(f"rm {place}; systemctl restart ssh")
    assert after - before == 2


def test_doctor_when_everything_is_there(site: Site) -> None:
    code, findings = site.doctor()
    assert code == 0, findings
    assert findings["Docker"]["found"].startswith("version 20.10")


def test_through_a_jump_host(site: Site) -> None:
    """The host is its own jump host: its loopback address is reached from nowhere else."""
    known = site.directory / ".ssh" / "known_hosts"
    line = site.host.known_host()
    known.write_text(line + line.replace(site.host.address, "127.0.0.1"))
    site.declare(address="127.0.0.1", ssh_jump=f"{USER}@{site.host.address}:22")
    assert site.is_as_declared()
    # the other way to the engine: status, logs and verify
    status = site.atelier("status", "--json")
    assert json.loads(status.stdout)["services"][0]["state"] == "absent", status.stderr
    known.write_text(line.replace(site.host.address, "127.0.0.1"))
    result = site.run("-y")
    site.know_host()
    site.declare()
    assert result.status == 1
    assert "not found in known_hosts" in result.output


def test_keys_of_hosts_never_seen_are_accepted_where_that_is_declared(site: Site) -> None:
    known = site.directory / ".ssh" / "known_hosts"
    known.write_text("# mine\n")
    jump = f"{USER}@{site.host.address}"
    site.declare(address="127.0.0.1", ssh_jump=jump, ssh_host_keys="accept-new")
    assert site.is_as_declared()
    written = known.read_text()
    assert [line.split()[0] for line in written.splitlines()] == [
        *("#", site.host.address, "127.0.0.1"),
    ]
    site.declare(address="127.0.0.1", ssh_jump=jump)
    assert site.is_as_declared()
    assert known.read_text() == written
    # a key that changed is refused even so
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(site.directory / "strange")],
        check=True,
    )
    kind, key, *_ = (site.directory / "strange.pub").read_text().split()
    known.write_text(f"{site.host.address} {kind} {key}\n")
    site.declare(ssh_host_keys="accept-new")
    result = site.run("-y")
    site.know_host()
    site.declare()
    assert result.status == 1
    assert f"ssh-keygen -R {site.host.address}" in result.output


@pytest.fixture
def sudo_password(site: Site) -> Iterator[str]:
    password = "it's a $ecret"
    rule = f"/etc/sudoers.d/{USER}"
    site.host.run("chpasswd", f"{USER}:{password}\n")
    site.host.run(f"echo '{USER} ALL=(ALL) ALL' >{rule}")
    yield password
    site.host.run(f"echo '{USER} ALL=(ALL) NOPASSWD: ALL' >{rule}")
    site.environment.pop("ATELIER_SUDO_PASSWORD", None)


def test_sudo_with_a_password_that_shows_nowhere(site: Site, sudo_password: str) -> None:
    site.environment["ATELIER_SUDO_PASSWORD"] = sudo_password
    watch = (
        "rm -f /tmp/seen /tmp/stop; while [ ! -f /tmp/stop ]; do "
        "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ >>/tmp/seen 2>/dev/null; sleep 0.01; done"
    )
    with started(["docker", "exec", site.host.name, "sh", "-c", watch]):
        result = site.run("-y", "-vvv")
        answer = site.atelier("status", "--json")
        site.host.run("touch /tmp/stop")
    assert (result.status, result.changes) == (0, []), result.output
    assert json.loads(answer.stdout)["services"][0]["state"] == "absent", answer.stderr
    assert sudo_password not in result.output + answer.stdout + answer.stderr
    assert site.host.run("grep -ac docker /tmp/seen") != "0"
    assert site.host.run('grep -acF "it\'s a" /tmp/seen', check=False) == "0"
    assert site.host.run("ls /dev/shm /tmp | grep -c -e atelier- -e pyinfra-", check=False) == "0"


def test_a_sudo_password_that_is_wrong_or_missing(site: Site, sudo_password: str) -> None:
    site.environment["ATELIER_SUDO_PASSWORD"] = "wrong"
    result = site.run("-y")
    assert (result.status, "Traceback" in result.output) == (1, False), result.output
    assert "sudo does not let this user in" in result.output
    code, findings = site.doctor()
    assert (code, findings["connection"]["status"], findings["sudo"]["status"]) == (
        *(1, "ok", "problem"),
    )
    site.environment.pop("ATELIER_SUDO_PASSWORD", None)
    result = site.run("-y")
    assert (result.status, "Traceback" in result.output) == (1, False), result.output
    assert "there is no terminal to ask for it" in result.output
    assert "ATELIER_SUDO_PASSWORD" in result.output


def test_an_installation_that_was_killed_is_mended(site: Site) -> None:
    site.host.run(
        "systemctl stop docker.service docker.socket; "
        "apt-get purge -q -y docker.io containerd runc; rm -rf /etc/docker /run/atelier-*"
    )
    with site.start() as run:
        assert run.stderr is not None
        for line in run.stderr:
            if "Starting operation: Install and configure Docker" in line:
                time.sleep(2)
                run.kill()
    assert site.host.run(f"test -f {MARK} && echo yes") == "yes"
    result = site.run("-y")
    assert result.status == 0, result.output
    assert site.host.run("docker version --format '{{.Server.Version}}'")
    assert site.host.run("dpkg --audit") == ""
    assert site.is_as_declared()
