"""container.sh and look_at_services.sh on a Mac, with a launchd whose state is a directory."""

from __future__ import annotations

import hashlib
import plistlib
import subprocess
from pathlib import Path

import pytest

from deploy.changes.live import LiveService
from deploy.facts.services import look_at_holds, parse_holds, parse_services, split_services
from deploy.live.daemons import elapsed_seconds
from deploy.scripts import read_script
from tests.fake_mac import FakeMac

NAME = "demo-ollama-0"


class Daemons(FakeMac):
    """The Mac, and daemons to run on it."""

    def unit(self, kind: str, name: str) -> str:
        return plistlib.dumps(
            {"Label": name, "ProgramArguments": [f"/x/{kind}", "serve"], "UserName": "ollama"}
        ).decode()

    def marks(self, name: str, version: str, deployment: str = "demo", user: str = "ollama") -> str:
        """It is healthy when it runs as one that is good."""
        lines = {
            "Deployment": deployment,
            "Service": "ollama",
            "Holds": '{"gpus":{},"ports":[8000]}',
            "User": user,
            "Directory": f"{self.directory}/data/{name}",
            "Log": f"{self.directory}/logs/{name}.log",
            "Health": f"grep -qx good {self.directory}/launchd/loaded/{name}",
            "StartPeriod": "600",
            "Spec": f'{{"version":"{version}"}}',
        }
        return "".join(f"{key}={value}\n" for key, value in lines.items())

    def replace(
        self, kind: str, *, name: str = NAME, version: str = "1", kill_after: int = 0, **marks: str
    ) -> subprocess.CompletedProcess[str]:
        """Replace what there is by a daemon."""
        return self.script(
            *("container.sh", "replace", name, "2", "launchd"),
            self.unit(kind, name),
            self.marks(name, version, **marks),
            FAKE_MAC_KILL=str(kill_after),
        )

    def look(self, *names: str) -> dict[str, LiveService]:
        done = self.script("look_at_services.sh", "demo", *names)
        assert (done.returncode, done.stderr) == (0, "")
        return parse_services(split_services(done.stdout.splitlines())[1])

    @property
    def running(self) -> dict[str, str]:
        """How each daemon that launchd has behaves."""
        folder = self.directory / "launchd" / "loaded"
        return {name: (folder / name).read_text().strip() for name in self.names("launchd/loaded")}

    def version(self, name: str = NAME) -> str:
        text = (self.directory / "services" / name / "marks").read_text()
        return text.split('{"version":"')[1].split('"')[0]


@pytest.fixture
def mac(tmp_path: Path) -> Daemons:
    return Daemons(tmp_path / "mac")


def test_a_first_daemon(mac: Daemons) -> None:
    done = mac.replace("good")
    assert done.returncode == 0, done.stdout + done.stderr
    assert mac.running == {NAME: "good"}
    assert mac.names("services") == {NAME}
    plist = mac.directory / "LaunchDaemons" / f"{NAME}.plist"
    assert plist.read_text() == mac.unit("good", NAME)
    assert plist.stat().st_mode & 0o777 == 0o644
    assert (mac.directory / "data" / NAME).stat().st_mode & 0o777 == 0o700
    assert any(line.startswith("chown root:wheel ") for line in mac.log)
    # it opens its log as its account
    assert f"chown ollama {mac.directory}/data/{NAME} {mac.directory}/logs/{NAME}.log" in mac.log


@pytest.mark.parametrize("bad", ["never", "crash", "once"])
def test_one_that_does_not_answer_gives_way_to_the_one_before(mac: Daemons, bad: str) -> None:
    mac.replace("good")
    log = mac.directory / "logs" / f"{NAME}.log"
    log.write_text("no Metal here\n")
    rotated = log.with_name(f"{log.name}.1.gz")
    rotated.touch()
    done = mac.replace(bad, version="2")
    assert done.returncode == 1
    assert "Its last lines:\n    no Metal here" in done.stdout
    assert f"{NAME}: the service before it serves again" in done.stdout
    assert (mac.running, mac.version()) == ({NAME: "good"}, "1")
    assert mac.names("services") == {NAME}
    # both write to one log, which says why the new one did not answer
    assert (log.read_text(), rotated.exists()) == ("no Metal here\n", True)


def test_one_with_nothing_before_it_leaves_nothing(mac: Daemons) -> None:
    done = mac.replace("crash")
    assert done.returncode == 1
    assert "there was nothing before it" in done.stdout
    assert (mac.running, mac.names("services"), mac.names("LaunchDaemons")) == ({}, set(), set())
    assert mac.names("logs") == set()
    # what it has stored stays, as a volume does
    assert mac.names("data") == {NAME}


def test_an_account_that_is_not_there(mac: Daemons) -> None:
    mac.replace("good")
    done = mac.replace("good", version="2", user="nadia")
    assert done.returncode == 1
    assert "there is no account nadia on this Mac" in done.stdout
    # nothing was touched
    assert (mac.running, mac.version(), mac.names("services")) == ({NAME: "good"}, "1", {NAME})


@pytest.mark.parametrize("kill_after", range(1, 7))
@pytest.mark.parametrize("new", ["good", "crash"])
def test_a_killed_run_is_mended_by_the_next(mac: Daemons, new: str, kill_after: int) -> None:
    mac.replace("good")
    mac.replace(new, version="2", kill_after=kill_after)
    done = mac.replace("good", version="3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (mac.running, mac.version()) == ({NAME: "good"}, "3")
    assert mac.names("services") == {NAME}
    assert mac.names("launchd/disabled") == set()


@pytest.mark.parametrize("kill_after", range(1, 7))
def test_after_a_killed_run_the_old_one_can_come_back(mac: Daemons, kill_after: int) -> None:
    mac.replace("good")
    mac.replace("crash", version="2", kill_after=kill_after)
    mac.replace("crash", version="3")
    assert (mac.running, mac.version()) == ({NAME: "good"}, "1")


@pytest.mark.parametrize("action", ["start", "restart"])
def test_one_that_was_stopped_and_disabled(mac: Daemons, action: str) -> None:
    mac.replace("good")
    (mac.directory / "launchd" / "loaded" / NAME).unlink()
    (mac.directory / "launchd" / "disabled" / NAME).touch()
    assert mac.script("container.sh", action, NAME, "5").returncode == 0
    assert mac.running == {NAME: "good"}
    assert mac.names("launchd/disabled") == set()


def test_one_is_removed(mac: Daemons) -> None:
    mac.replace("good")
    assert mac.script("container.sh", "remove", NAME, "0").returncode == 0
    assert (mac.running, mac.names("services"), mac.names("LaunchDaemons")) == ({}, set(), set())
    assert mac.names("logs") == set()


def test_a_look_at_daemons(mac: Daemons) -> None:
    mac.replace("good")
    [found] = mac.look(NAME).values()
    assert (found.name, found.deployment, found.service) == (NAME, "demo", "ollama")
    assert (found.state, found.health, found.starts_with_host) == ("running", "healthy", True)
    assert found.spec == {"version": "1"}
    assert found.holds.ports == {8000}
    assert found.files == {
        "unit file": hashlib.sha256(mac.unit("good", NAME).encode()).hexdigest(),
        "marks file": hashlib.sha256(mac.marks(NAME, "1").encode()).hexdigest(),
    }
    # ps says that it runs for 1 h 2 min 5 s
    now = float(mac.shell("date +%s").stdout)
    assert abs(now - found.started_at - 3725) < 30


def test_a_look_at_one_that_was_edited_and_stopped(mac: Daemons) -> None:
    mac.replace("good")
    (mac.directory / "LaunchDaemons" / f"{NAME}.plist").write_text("edited")
    (mac.directory / "launchd" / "loaded" / NAME).unlink()
    (mac.directory / "launchd" / "disabled" / NAME).touch()
    (mac.directory / "logs" / f"{NAME}.log").write_text("first\nlast words\n")
    [found] = mac.look().values()
    assert (found.state, found.health, found.starts_with_host) == ("exited", "unhealthy", False)
    assert found.last_line == "last words"
    assert found.files["unit file"] == hashlib.sha256(b"edited").hexdigest()


def test_a_look_finds_daemons_of_others_with_wanted_names_alone(mac: Daemons) -> None:
    for name in ("theirs", "another"):
        (mac.directory / "LaunchDaemons" / f"{name}.plist").write_text(mac.unit("good", name))
    mac.replace("good", name="lab-ollama-0", deployment="lab")
    found = mac.look("theirs", "lab-ollama-0", "missing")
    assert {name: service.deployment for name, service in found.items()} == {
        "theirs": None,
        "lab-ollama-0": "lab",
    }


def test_ports_of_daemons(mac: Daemons) -> None:
    mac.replace("good")
    mac.replace("good", name="lab-ollama-0", deployment="lab")
    assert parse_holds(mac.shell(look_at_holds("demo")).stdout.splitlines()) == {8000}
    assert parse_holds(mac.shell(look_at_holds("other")).stdout.splitlines()) == frozenset()


@pytest.mark.parametrize(
    ("text", "seconds"), [("00:07", 7), ("02:05", 125), ("01:02:05", 3725), ("2-00:00:01", 172801)]
)
def test_elapsed_time(mac: Daemons, text: str, seconds: int) -> None:
    """As the look reads it, and as ``atelier status`` does."""
    assert elapsed_seconds(text) == seconds
    functions = read_script("look_at_daemons.sh")
    age_of = functions[functions.index("age_of() {") : functions.index("# of_daemon FIELD")]
    done = mac.shell(f"ps() {{ echo {text}; }}\n{age_of}\nage_of 1")
    assert int(done.stdout) == seconds
