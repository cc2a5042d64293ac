"""container.sh with services of a systemd whose state is a directory (the ``systemctl`` beside)."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.changes.live import LiveService
from deploy.facts.services import parse_services, split_services
from deploy.scripts import read_script

HERE = Path(__file__).parent
NAME = "demo-llama-cpp-0"
SECRETS = 'LLAMA_API_KEY="sk-leaked-engine"\n'


@dataclass
class Machine:
    """A host with systemd and Docker to run the script against."""

    directory: Path

    def __post_init__(self) -> None:
        for folder in ("units", "loaded", "enabled", "running", "containers", "services"):
            (self.directory / folder).mkdir(parents=True)

    @property
    def script(self) -> str:
        """The script, with the places of this host."""
        text = read_script("container.sh")
        for place, folder in {
            "/etc/atelier/services": "services",
            "/etc/systemd/system": "units",
            "/run/systemd/system": "units",
        }.items():
            assert place in text
            text = text.replace(place, str(self.directory / folder))
        return text

    def call(
        self, *arguments: str, stdin: str = "", kill_after: int = 0
    ) -> subprocess.CompletedProcess[str]:
        """Run the script as the operations do."""
        (self.directory / "changes").write_text("")
        environment = {
            "PATH": f"{HERE}:{os.environ['PATH']}",
            "TMPDIR": str(self.directory),
            "FAKE_DOCKER": str(self.directory),
            "FAKE_SYSTEMD": str(self.directory),
            "FAKE_SYSTEMD_KILL": str(kill_after),
        }
        return subprocess.run(
            ["sh", "-c", self.script, "atelier", *arguments],
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            start_new_session=True,
            timeout=60,
        )

    def unit(self, kind: str, name: str) -> str:
        """A unit file; the service is healthy when it runs as one that is good."""
        health = f"grep -qx good {self.directory}/running/{name}.service"
        return f"[Service]\nExecStart={kind}\n[X-Atelier]\nDeployment=demo\nHealth={health}\n"

    def replace(
        self, kind: str, *, name: str = NAME, timeout: int = 5, kill_after: int = 0, key: str = "1"
    ) -> subprocess.CompletedProcess[str]:
        """Replace what there is by a service."""
        arguments = ("replace", name, str(timeout), "systemd", self.unit(kind, name))
        return self.call(*arguments, stdin=f"KEY={key}\n", kill_after=kill_after)

    def containerise(self, image: str, name: str = NAME) -> subprocess.CompletedProcess[str]:
        """Replace what there is by a container."""
        return self.call("replace", name, "5", "30", "2", "--label", "a=b", image, stdin="KEY=1")

    def look(self, *names: str) -> dict[str, LiveService]:
        """What a look at the host finds of the deployment and of services with these names."""
        text = read_script("look_at_services.sh")
        for place, folder in {
            "/etc/atelier/services": "services",
            "/etc/systemd/system": "units",
        }.items():
            text = text.replace(place, str(self.directory / folder))
        done = subprocess.run(
            ["sh", "-c", text, "atelier", "demo", *names],
            env={"PATH": f"{HERE}:{os.environ['PATH']}", "FAKE_SYSTEMD": str(self.directory)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return parse_services(split_services(done.stdout.splitlines())[1])

    @property
    def running(self) -> dict[str, str]:
        """How each service that runs behaves."""
        return _contents(self.directory / "running")

    @property
    def containers(self) -> dict[str, str]:
        """Status of each container."""
        folders = (self.directory / "containers").iterdir()
        return {folder.name: (folder / "status").read_text().strip() for folder in folders}

    @property
    def kept(self) -> set[str]:
        """What is kept of services, of old and new ones too."""
        return {path.name for path in (self.directory / "services").iterdir()}

    @property
    def enabled(self) -> set[str]:
        return {path.name for path in (self.directory / "enabled").iterdir()}

    def is_as_if_never_there(self) -> bool:
        """Whether nothing is left of any service."""
        units = list((self.directory / "units").iterdir())
        return not (units or self.kept or self.running or self.enabled)


def _contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text().strip() for path in folder.iterdir()}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "host")


def test_a_first_service(machine: Machine) -> None:
    done = machine.call(
        *("replace", NAME, "5", "systemd", machine.unit("good", NAME)), stdin=SECRETS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert machine.running == {f"{NAME}.service": "good"}
    assert machine.enabled == {f"{NAME}.service"}
    assert machine.kept == {NAME}
    place = machine.directory / "services" / NAME
    assert (place / "environment").read_text() == SECRETS
    assert [oct(path.stat().st_mode)[-3:] for path in (place, place / "environment")] == [
        "700",
        "600",
    ]
    installed = machine.directory / "units" / f"{NAME}.service"
    assert installed.read_text() == machine.unit("good", NAME)
    assert oct(installed.stat().st_mode)[-3:] == "644"
    assert "leaked" not in (machine.directory / "log").read_text()


@pytest.mark.parametrize("kind", ["crash", "nostart", "never"])
def test_a_broken_first_service_is_removed(machine: Machine, kind: str) -> None:
    done = machine.replace(kind, timeout=1)
    assert done.returncode == 1
    assert f"{NAME} was removed; there was nothing before it" in done.stdout
    assert f"    {NAME}.service says why" in done.stdout
    assert machine.is_as_if_never_there()


def test_a_service_is_replaced(machine: Machine) -> None:
    machine.replace("good")
    assert machine.replace("good", key="2").returncode == 0
    assert (machine.directory / "services" / NAME / "environment").read_text() == "KEY=2\n"
    assert machine.kept == {NAME}


@pytest.mark.parametrize("kind", ["crash", "nostart", "never"])
def test_a_broken_service_gives_way_to_the_one_before(machine: Machine, kind: str) -> None:
    machine.replace("good")
    done = machine.replace(kind, timeout=1, key="2")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == f"{NAME}: the service before it serves again"
    assert machine.running == {f"{NAME}.service": "good"}
    assert machine.enabled == {f"{NAME}.service"}
    assert machine.kept == {NAME}
    assert (machine.directory / "services" / NAME / "environment").read_text() == "KEY=1\n"


def test_a_service_takes_the_place_of_a_container(machine: Machine) -> None:
    machine.containerise("good")
    assert machine.containers == {NAME: "running"}
    assert machine.replace("good").returncode == 0
    assert machine.containers == {}
    assert machine.running == {f"{NAME}.service": "good"}


def test_a_container_takes_the_place_of_a_service(machine: Machine) -> None:
    machine.replace("good")
    assert machine.containerise("good").returncode == 0
    assert machine.containers == {NAME: "running"}
    assert machine.is_as_if_never_there()


def test_a_broken_service_gives_way_to_the_container_before(machine: Machine) -> None:
    machine.containerise("good")
    done = machine.replace("crash")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == f"{NAME}: the container before it serves again"
    assert machine.containers == {NAME: "running"}
    assert machine.is_as_if_never_there()


def test_a_broken_container_gives_way_to_the_service_before(machine: Machine) -> None:
    machine.replace("good")
    done = machine.containerise("crash")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == f"{NAME}: the service before it serves again"
    assert machine.containers == {}
    assert machine.running == {f"{NAME}.service": "good"}
    assert machine.enabled == {f"{NAME}.service"}


def test_one_takes_what_another_has(machine: Machine) -> None:
    """A group: an old service goes, a container starts, and the other way round if it fails."""
    machine.replace("good", name="demo-old-0")
    prepare = ("5", "30", "2", "--label", "a=b")
    machine.call("prepare", "demo-new-0", *prepare, "crash", stdin="KEY=1")
    swap = ("swap", "demo-old-0,demo-new-0", "0", "demo-new-0", "5")
    assert machine.call(*swap).returncode == 1
    assert (machine.running, machine.containers) == ({"demo-old-0.service": "good"}, {})
    machine.call("prepare", "demo-new-0", *prepare, "good", stdin="KEY=1")
    assert machine.call(*swap).returncode == 0
    assert machine.containers == {"demo-new-0": "running"}
    assert machine.is_as_if_never_there()


@pytest.mark.parametrize("action", ["start", "restart"])
def test_a_service_that_was_stopped_and_disabled(machine: Machine, action: str) -> None:
    machine.replace("good")
    for folder in ("running", "enabled"):
        (machine.directory / folder / f"{NAME}.service").unlink()
    assert machine.call(action, NAME, "5").returncode == 0
    assert machine.running == {f"{NAME}.service": "good"}
    assert machine.enabled == {f"{NAME}.service"}


def test_one_is_made_to_start_with_the_host(machine: Machine) -> None:
    machine.replace("good")
    (machine.directory / "enabled" / f"{NAME}.service").unlink()
    (machine.directory / "log").write_text("")
    assert machine.call("enable", NAME, "5").returncode == 0
    assert machine.enabled == {f"{NAME}.service"}
    assert "restart" not in (machine.directory / "log").read_text()


def test_a_service_is_removed(machine: Machine) -> None:
    machine.replace("good")
    assert machine.call("remove", NAME, "0").returncode == 0
    assert machine.is_as_if_never_there()


def test_one_whose_removal_was_killed_is_found_and_removed(machine: Machine) -> None:
    machine.replace("good")
    assert machine.call("remove", NAME, "0", kill_after=1).returncode != 0
    assert set(machine.look()) == {NAME}
    assert machine.call("remove", NAME, "0").returncode == 0
    assert machine.is_as_if_never_there()


def test_what_a_change_left_is_cleaned_up(machine: Machine) -> None:
    machine.replace("good")
    for end in ("next", "previous"):
        left = machine.directory / "services" / f"{NAME}.{end}"
        left.mkdir()
        (left / "unit").write_text("x")
    assert machine.call("clean", NAME, "5").returncode == 0
    assert machine.kept == {NAME}
    assert machine.running == {f"{NAME}.service": "good"}
    assert machine.enabled == {f"{NAME}.service"}


@pytest.mark.parametrize("kill_after", range(1, 7))
@pytest.mark.parametrize("new", ["good", "crash"])
def test_a_killed_run_is_mended_by_the_next(machine: Machine, new: str, kill_after: int) -> None:
    machine.replace("good")
    machine.replace(new, key="2", kill_after=kill_after)
    done = machine.replace("good", key="3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert machine.running == {f"{NAME}.service": "good"}
    assert machine.kept == {NAME}
    assert (machine.directory / "services" / NAME / "environment").read_text() == "KEY=3\n"


@pytest.mark.parametrize("kill_after", range(1, 7))
def test_after_a_killed_run_the_old_one_can_come_back(machine: Machine, kill_after: int) -> None:
    machine.replace("good")
    machine.replace("crash", key="2", kill_after=kill_after)
    machine.replace("nostart", key="3")
    assert machine.running == {f"{NAME}.service": "good"}
    assert (machine.directory / "services" / NAME / "environment").read_text() == "KEY=1\n"


def test_a_look_at_services(machine: Machine) -> None:
    machine.replace("good")
    machine.replace("never", name="demo-other-0", timeout=1)
    [found] = machine.look(NAME).values()
    assert (found.name, found.deployment) == (NAME, "demo")
    assert (found.state, found.health, found.starts_with_host) == ("running", "healthy", True)
    # 28 November 2026, 16:27:06 UTC
    assert found.started_at == 1795883226
    assert found.files == {
        "unit file": hashlib.sha256(machine.unit("good", NAME).encode()).hexdigest(),
        "environment file": hashlib.sha256(b"KEY=1\n").hexdigest(),
    }
    assert found.last_line == ""


def test_a_look_at_one_that_does_not_answer(machine: Machine) -> None:
    machine.replace("good")
    (machine.directory / "running" / f"{NAME}.service").unlink()
    [found] = machine.look().values()
    assert (found.state, found.health) == ("exited", "unhealthy")
    assert found.last_line == f"{NAME}.service says why"


def test_a_look_at_what_a_killed_run_left(machine: Machine) -> None:
    machine.replace("good")
    machine.replace("never", timeout=30, kill_after=4)
    found = machine.look(NAME)
    assert set(found) >= {f"{NAME}.previous"}
    assert {service.deployment for service in found.values()} == {"demo"}


def test_a_look_finds_services_of_others_with_wanted_names_alone(machine: Machine) -> None:
    units = machine.directory / "units"
    (units / "theirs.service").write_text("[Service]\nExecStart=good\n")
    (units / "another.service").write_text("[Service]\nExecStart=good\n")
    machine.replace("good", name="lab-llama-cpp-0")
    lab = machine.directory / "services" / "lab-llama-cpp-0" / "unit"
    lab.write_text(lab.read_text().replace("Deployment=demo", "Deployment=lab"))
    found = machine.look("theirs", "lab-llama-cpp-0", "missing")
    assert {name: service.deployment for name, service in found.items()} == {
        "theirs": None,
        "lab-llama-cpp-0": "lab",
    }
