"""container.sh against a container engine whose state is a directory (the ``docker`` beside)."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.scripts import read_script

HERE = Path(__file__).parent
NAME = "demo-litellm-0"
NEXT, PREVIOUS = f"{NAME}.next", f"{NAME}.previous"
PATIENCE = {"never": 1, "slow": 20, "sick": 20}
"""Seconds that a container gets; only one that is never healthy is given up on by the clock."""
SECRETS = "LITELLM_MASTER_KEY=sk-leaked-key\nENGINE_API_KEY=sk-leaked-engine"


SCRIPTS = HERE.parent.parent / "deploy" / "scripts"
HOSTS_OWN = {
    **{"HTTP_PROXY": "http://proxy.lab", "no_proxy": "lab", "LC_ALL": "tr_TR.UTF-8"},
    **{"DOCKER_CONTENT_TRUST": "1", "DOCKER_DEFAULT_PLATFORM": "linux/riscv64"},
}
"""What the environment of a host may have."""


@dataclass
class Engine:
    """A container engine to run the script against."""

    directory: Path

    def run(
        self, action: str, *arguments: str, stdin: str = "", timeout: int = 20, kill_after: int = 0
    ) -> subprocess.CompletedProcess[str]:
        """Run the script for one container."""
        return self.call(
            *(action, NAME, str(timeout), *arguments), stdin=stdin, kill_after=kill_after
        )

    def call(
        self, *arguments: str, stdin: str = "", kill_after: int = 0
    ) -> subprocess.CompletedProcess[str]:
        """Run the script as the operations do."""
        command = ["sh", "-c", read_script("container.sh"), "atelier"]
        environment = {
            "PATH": f"{HERE}:{os.environ['PATH']}",
            "TMPDIR": str(self.directory),
            "FAKE_DOCKER": str(self.directory),
            "FAKE_DOCKER_KILL": str(kill_after),
            **HOSTS_OWN,
        }
        (self.directory / "changes").write_text("")
        return subprocess.run(
            [*command, *arguments],
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            start_new_session=True,
            timeout=60,
        )

    def replace(
        self, image: str, timeout: int = 20, kill_after: int = 0
    ) -> subprocess.CompletedProcess[str]:
        """Replace the container by one of an image."""
        arguments = ["--label", "a=b c", "--read-only", "--memory", "1024", image, "serve", "it's"]
        return self.run(
            "replace", "30", "2", *arguments, stdin=SECRETS, timeout=timeout, kill_after=kill_after
        )

    def add(self, name: str, image: str, status: str = "running") -> None:
        """A container that is there already."""
        folder = self.directory / "containers" / name
        folder.mkdir()
        for field, value in {"image": image, "status": status, "looks": "0"}.items():
            (folder / field).write_text(value + "\n")

    @property
    def containers(self) -> dict[str, tuple[str, str]]:
        """Image and status of each container."""
        return {
            folder.name: (
                (folder / "image").read_text().strip(),
                (folder / "status").read_text().strip(),
            )
            for folder in sorted((self.directory / "containers").iterdir())
        }

    @property
    def log(self) -> list[str]:
        """Every call of the engine's command."""
        return (self.directory / "log").read_text().splitlines()

    @property
    def verbs(self) -> list[str]:
        """What was done to containers, in order."""
        calls = [call.split() for call in self.log]
        return [call[2] for call in calls if call[1] == "container" and call[2] != "inspect"]


@pytest.fixture
def new_engine(tmp_path: Path) -> Callable[[], Engine]:
    made: list[Engine] = []

    def make() -> Engine:
        directory = tmp_path / str(len(made))
        (directory / "containers").mkdir(parents=True)
        made.append(Engine(directory))
        return made[-1]

    return make


@pytest.fixture
def engine(new_engine: Callable[[], Engine]) -> Engine:
    return new_engine()


def test_it_is_plain_shell() -> None:
    subprocess.run(["sh", "-n", str(SCRIPTS / "container.sh")], check=True)


@pytest.mark.parametrize("image", ["good", "slow"])
def test_a_first_container_is_created(engine: Engine, image: str) -> None:
    result = engine.replace(image)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert engine.containers == {NAME: (image, "running")}


def test_the_engine_is_asked_without_the_hosts_own_environment(engine: Engine) -> None:
    engine.replace("good")
    environment = (engine.directory / "environment").read_text().splitlines()
    assert "LC_ALL=C" in environment
    assert not [line for line in environment if re.match(r"DOCKER_|.*_proxy=", line, re.I)]


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.sh")), ids=lambda path: path.stem)
def test_no_script_starts_a_container_with_the_hosts_own_environment(script: Path) -> None:
    starts = re.search(r"docker (container )?(create|run) (--[^h]|\"\$@)", script.read_text())
    says = "unset DOCKER_CONTENT_TRUST DOCKER_DEFAULT_PLATFORM" in read_script(script.name)
    assert says or not starts


def test_a_healthy_new_container_takes_the_olds_place(engine: Engine) -> None:
    engine.add(NAME, "old")
    assert engine.replace("good").returncode == 0
    assert engine.containers == {NAME: ("good", "running")}


def test_the_old_one_stops_only_when_the_new_one_is_created(engine: Engine) -> None:
    engine.add(NAME, "old")
    engine.replace("good")
    assert engine.verbs == ["rm", "create", "rename", "stop", "rename", "start", "rm"]


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("sick", "is running and unhealthy"),
        ("crash", "is restarting and starting, restarted 3 times"),
        ("never", "is running and starting"),
        ("nostart", "does not start: Error: driver failed: port is already allocated"),
    ],
)
def test_a_broken_new_container_gives_way_to_the_old_one(
    engine: Engine, image: str, reason: str
) -> None:
    engine.add(NAME, "good")
    timeout = PATIENCE.get(image, 20)
    result = engine.replace(image, timeout=timeout)
    assert result.returncode == 1
    first, *lines = result.stdout.splitlines()
    assert first.startswith(f"container {NAME} {reason}")
    assert first.endswith(f"; it had {timeout} s to become healthy. Its last lines:")
    assert lines == [
        f"    first line of {image}",
        f"    last line of {image}",
        f"{NAME}: the container before it serves again",
    ]
    assert engine.containers == {NAME: ("good", "running")}


def test_a_broken_first_container_is_removed(engine: Engine) -> None:
    result = engine.replace("sick")
    assert result.returncode == 1
    assert result.stdout.splitlines()[-1] == (f"{NAME} was removed; there was nothing before it")
    assert engine.containers == {}


@pytest.mark.parametrize("image", ["good", "nostart"])
def test_one_that_cannot_be_stopped_serves_on(engine: Engine, image: str) -> None:
    """Else both would run, and share a port or a GPU."""
    engine.add(NAME, "stuck")
    result = engine.replace(image)
    assert result.returncode == 1
    assert result.stdout.splitlines() == [
        f"container {NAME} cannot be stopped: Error: cannot stop container: {PREVIOUS}: permission "
        "denied",
        f"{NAME}: the container before it serves again",
    ]
    assert engine.containers == {NAME: ("stuck", "running")}


def test_both_broken_is_said(engine: Engine) -> None:
    engine.add(NAME, "sick")
    result = engine.replace("crash")
    assert result.returncode == 1
    assert result.stdout.splitlines()[-1].startswith(
        f"{NAME}: the container before it was started again, but is running and unhealthy"
    )
    assert engine.containers == {NAME: ("sick", "running")}


def test_a_container_that_cannot_be_created_leaves_the_old_one_untouched(engine: Engine) -> None:
    engine.add(NAME, "old")
    result = engine.replace("nocreate")
    assert result.returncode != 0
    assert "No such image: nocreate" in result.stderr
    assert engine.containers == {NAME: ("old", "running")}
    assert not {"stop", "rename", "start"} & set(engine.verbs)


def test_secrets_arrive_on_standard_input_alone(engine: Engine) -> None:
    engine.replace("good")
    assert (engine.directory / "stdin").read_text() == SECRETS
    assert "leaked" not in "\n".join(engine.log)


def test_arguments_arrive_whole(engine: Engine) -> None:
    engine.replace("good")
    [create] = [call for call in engine.log if " container create --name" in call]
    assert create == (
        f"docker container create --name {NEXT} --env-file /dev/stdin "
        "--health-interval 4s --label a=b c --read-only --memory 1024 good serve it's"
    )


@pytest.mark.parametrize("image", ["good", "sick"])
@pytest.mark.parametrize(
    "leftovers",
    [
        {NEXT: "x"},
        {PREVIOUS: "good"},
        {NEXT: "x", PREVIOUS: "good"},
        {NAME: "x", PREVIOUS: "good"},
        {NAME: "good", NEXT: "x"},
        {NAME: "x", NEXT: "x", PREVIOUS: "good"},
    ],
    ids=lambda leftovers: "+".join(leftovers) if isinstance(leftovers, dict) else leftovers,
)
def test_what_a_killed_run_left_is_gone_on_from(
    engine: Engine, leftovers: dict[str, str], image: str
) -> None:
    for name, kept in leftovers.items():
        engine.add(name, kept, "exited" if name == PREVIOUS else "running")
    result = engine.replace(image)
    had_a_good_one = "good" in leftovers.values()
    if image == "good":
        assert result.returncode == 0
    else:
        assert result.returncode == 1
    serving = {NAME: ("good", "running")} if had_a_good_one or image == "good" else {}
    assert engine.containers == serving


CHANGES_OF_A_REPLACEMENT = 6  # create, rename, stop, rename, start, rm


@pytest.mark.parametrize("killed_after", range(1, CHANGES_OF_A_REPLACEMENT + 1))
def test_killed_at_any_moment_the_next_run_mends_it(
    new_engine: Callable[[], Engine], killed_after: int
) -> None:
    for wanted, status in (("slow", 0), ("sick", 1)):
        engine = new_engine()
        engine.add(NAME, "good")
        assert engine.replace("slow", kill_after=killed_after).returncode == -9
        images = {image for image, _ in engine.containers.values()}
        # the kill after the last change finds the new one proven and the old one gone
        proven = "good" if "good" in images else "slow"
        assert engine.replace(wanted).returncode == status
        serving = wanted if status == 0 else proven
        assert engine.containers == {NAME: (serving, "running")}


def test_a_replacement_has_as_many_changes_as_are_killed_after(engine: Engine) -> None:
    engine.add(NAME, "good")
    engine.replace("slow")
    changes = (engine.directory / "changes").read_text().splitlines()
    assert len(changes) == CHANGES_OF_A_REPLACEMENT


def test_clean_removes_what_is_beside(engine: Engine) -> None:
    for name in (NAME, NEXT, PREVIOUS):
        engine.add(name, "good")
    assert engine.run("clean").returncode == 0
    assert engine.containers == {NAME: ("good", "running")}


def test_what_goes_is_told_to_end_before_it_is_removed(engine: Engine) -> None:
    """What it has begun to answer it answers; Docker kills what it removes while it runs."""
    engine.add(NAME, "good")
    assert engine.run("remove").returncode == 0
    assert engine.verbs[:2] == ["stop", "rm"]
    assert engine.containers == {}


@pytest.mark.parametrize("status", ["exited", "created", "paused"])
@pytest.mark.parametrize("action", ["start", "restart"])
def test_a_stopped_container_starts_and_becomes_healthy(
    engine: Engine, action: str, status: str
) -> None:
    engine.add(NAME, "slow", status)
    engine.add(NEXT, "x", "created")
    result = engine.run(action)
    assert (result.returncode, result.stdout) == (0, "")
    assert engine.containers == {NAME: ("slow", "running")}


def test_a_container_that_stays_sick_is_kept_and_shown(engine: Engine) -> None:
    engine.add(NAME, "sick")
    result = engine.run("restart")
    assert result.returncode == 1
    assert "    last line of sick" in result.stdout.splitlines()
    assert engine.containers == {NAME: ("sick", "running")}


@pytest.mark.parametrize(
    ("image", "status", "said"),
    [("slow", 0, ""), ("never", 1, "is running and starting"), ("sick", 1, "unhealthy")],
)
def test_wait_changes_nothing(engine: Engine, image: str, status: int, said: str) -> None:
    engine.add(NAME, image)
    result = engine.run("wait", timeout=PATIENCE[image])
    assert result.returncode == status
    assert said in result.stdout
    assert set(engine.verbs) <= {"logs"}


def test_waiting_for_a_container_that_is_gone_fails(engine: Engine) -> None:
    assert engine.run("wait").returncode == 1


def test_two_runs_at_once_do_not_mix(engine: Engine) -> None:
    engine.add(NAME, "good")
    command = ["sh", "-c", read_script("container.sh"), "atelier", "replace", NAME, "20"]
    command += ["30", "2", "slow"]
    environment = {
        "PATH": f"{HERE}:{os.environ['PATH']}",
        "TMPDIR": str(engine.directory),
        "FAKE_DOCKER": str(engine.directory),
    }
    runs = [subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL) for _ in range(3)]
    assert [run.wait(timeout=60) for run in runs] == [0, 0, 0]
    assert engine.containers == {NAME: ("slow", "running")}


# several at once

ONE, TWO, GONE = "demo-m1-0", "demo-m2-0", "demo-old-0"


def swap(engine: Engine, *fresh: str, kill_after: int = 0) -> subprocess.CompletedProcess[str]:
    """Stop ONE, TWO and GONE, and start the prepared ones among them."""
    started = [part for name in fresh for part in (name, "20")]
    return engine.call("swap", f"{ONE},{TWO},{GONE}", "0", *started, kill_after=kill_after)


def test_units_that_exchange_something_change_together(engine: Engine) -> None:
    for name in (ONE, TWO, GONE):
        engine.add(name, "good")
    for name in (ONE, TWO):
        engine.add(f"{name}.next", "slow", "created")
    result = swap(engine, ONE, TWO)
    assert (result.returncode, result.stdout) == (0, "")
    assert engine.containers == {ONE: ("slow", "running"), TWO: ("slow", "running")}
    # all are stopped before the first one starts
    assert engine.verbs.index("start") > max(
        index for index, verb in enumerate(engine.verbs) if verb == "stop"
    )


def test_one_that_goes_takes_what_a_killed_run_prepared_with_it(engine: Engine) -> None:
    for name in (ONE, TWO, GONE):
        engine.add(name, "good")
    for name in (ONE, TWO, GONE):
        engine.add(f"{name}.next", "slow", "created")
    assert swap(engine, ONE, TWO).returncode == 0
    assert engine.containers == {ONE: ("slow", "running"), TWO: ("slow", "running")}


def test_if_one_of_them_fails_all_are_as_before(engine: Engine) -> None:
    for name in (ONE, TWO, GONE):
        engine.add(name, "good")
    engine.add(f"{ONE}.next", "slow", "created")
    engine.add(f"{TWO}.next", "sick", "created")
    result = swap(engine, ONE, TWO)
    assert result.returncode == 1
    assert "    last line of sick" in result.stdout.splitlines()
    assert engine.containers == dict.fromkeys((ONE, TWO, GONE), ("good", "running"))


@pytest.mark.parametrize("killed_after", range(1, 12))
def test_a_swap_killed_at_any_moment_is_gone_on_from(
    new_engine: Callable[[], Engine], killed_after: int
) -> None:
    engine = new_engine()
    for name in (ONE, TWO, GONE):
        engine.add(name, "good")
    for name in (ONE, TWO):
        engine.add(f"{name}.next", "slow", "created")
    assert swap(engine, ONE, TWO, kill_after=killed_after).returncode == -9
    for name in (ONE, TWO):
        again = engine.call("prepare", name, "20", "30", "2", "slow", stdin=SECRETS)
        assert again.returncode == 0
    result = swap(engine, ONE, TWO)
    assert result.returncode == 0, result.stdout
    assert engine.containers == {ONE: ("slow", "running"), TWO: ("slow", "running")}


# ports that cannot be published


@pytest.mark.parametrize("action", ["replace", "swap"])
def test_what_serves_is_not_stopped_where_no_port_can_be_published(
    engine: Engine, action: str
) -> None:
    (engine.directory / "flushed").write_text("")
    engine.add(NAME, "good")
    if action == "replace":
        result = engine.replace("published")
    else:
        engine.add(NEXT, "published", "created")
        result = engine.call("swap", NAME, "0", NAME, "20")
    assert result.returncode == 1
    assert "Docker cannot publish ports on this host" in result.stdout
    assert "iptables: No chain" in result.stdout
    assert engine.containers == {NAME: ("good", "running")}
    assert "stop" not in engine.verbs


def test_a_port_that_can_be_published_is(engine: Engine) -> None:
    engine.add(NAME, "good")
    assert engine.replace("published").returncode == 0
    assert engine.containers == {NAME: ("published", "running")}


# containers that give way

ENDING = f"{NAME}.ending-good01234567"


def relieve(engine: Engine, image: str, kill_after: int = 0) -> subprocess.CompletedProcess[str]:
    return engine.run("relieve", "30", "2", image, stdin=SECRETS, kill_after=kill_after)


def test_the_old_one_serves_until_the_new_one_does_and_ends_by_itself(engine: Engine) -> None:
    engine.add(NAME, "good")
    result = relieve(engine, "slow")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert engine.containers == {NAME: ("slow", "running"), ENDING: ("good", "running")}
    assert "stop" not in engine.verbs
    assert engine.verbs.index("kill") > engine.verbs.index("start")
    ending = engine.directory / "containers" / ENDING
    assert (ending / "told").read_text() == "HUP\n"
    # Docker does not start it again
    assert (ending / "restart").read_text() == "no\n"


def test_what_has_ended_is_removed_without_another_run(engine: Engine) -> None:
    engine.add(NAME, "good")
    (engine.directory / "answered").touch()
    assert relieve(engine, "slow").returncode == 0
    deadline = time.monotonic() + 60
    while (engine.directory / "containers" / ENDING).exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert engine.containers == {NAME: ("slow", "running")}


@pytest.mark.parametrize("image", ["sick", "nostart"])
def test_one_that_does_not_work_leaves_the_old_one_as_it_was(engine: Engine, image: str) -> None:
    engine.add(NAME, "good")
    result = relieve(engine, image)
    assert result.returncode == 1
    assert result.stdout.splitlines()[-1] == f"{NAME}: the container before it serves again"
    assert engine.containers == {NAME: ("good", "running")}
    assert not {"stop", "kill"} & set(engine.verbs)


def test_a_first_one_that_gives_way_is_created(engine: Engine) -> None:
    assert relieve(engine, "slow").returncode == 0
    assert engine.containers == {NAME: ("slow", "running")}


def test_one_that_was_stopped_by_hand_is_not_waited_for(engine: Engine) -> None:
    engine.add(NAME, "good", "exited")
    assert relieve(engine, "slow").returncode == 0
    assert engine.containers == {NAME: ("slow", "running")}


def test_one_with_ports_of_its_own_does_not_go_on_at_them(engine: Engine) -> None:
    """It is of a release without a listener: it knows no SIGHUP, and would never end."""
    engine.add(NAME, "published")
    assert relieve(engine, "slow").returncode == 0
    assert engine.containers == {NAME: ("slow", "running")}
    assert "kill" not in engine.verbs
    # with time for what it has begun
    assert engine.verbs.index("stop") > engine.verbs.index("start")


def test_several_end_at_the_same_time(engine: Engine) -> None:
    engine.add(NAME, "good")
    engine.add(f"{NAME}.ending-first0123456", "old")
    assert relieve(engine, "slow").returncode == 0
    assert engine.containers.keys() == {NAME, ENDING, f"{NAME}.ending-first0123456"}


CHANGES_OF_A_RELIEF = 7  # create, rename, rename, start, update, kill, rename


@pytest.mark.parametrize("killed_after", range(1, CHANGES_OF_A_RELIEF + 1))
def test_a_relief_killed_at_any_moment_is_gone_on_from(
    new_engine: Callable[[], Engine], killed_after: int
) -> None:
    for wanted, status in (("published", 0), ("sick", 1)):
        engine = new_engine()
        engine.add(NAME, "good")
        assert relieve(engine, "slow", kill_after=killed_after).returncode == -9
        served = {image for image, state in engine.containers.values() if state == "running"}
        assert "good" in served
        # once anything is done to the one before, the new one is known to work
        before = engine.directory / "containers" / PREVIOUS
        is_proven = (before / "restart").exists() or ENDING in engine.containers
        proven = "slow" if is_proven else "good"
        assert relieve(engine, wanted).returncode == status
        serving = wanted if status == 0 else proven
        left = dict(engine.containers)
        assert left.pop(NAME) == (serving, "running")
        assert all(f"{NAME}.ending-" in name for name in left), left
        assert all(image in {"good", "slow"} for image, _ in left.values())


@pytest.mark.parametrize("killed_after", [4, 5, 6])
def test_what_works_is_settled_without_another_container(engine: Engine, killed_after: int) -> None:
    """The next look finds nothing to change but what is beside it."""
    engine.add(NAME, "good")
    relieve(engine, "slow", kill_after=killed_after)
    assert engine.run("settle").returncode == 0
    assert engine.containers == {NAME: ("slow", "running"), ENDING: ("good", "running")}


def test_a_relief_has_as_many_changes_as_are_killed_after(engine: Engine) -> None:
    engine.add(NAME, "good")
    relieve(engine, "slow")
    changes = (engine.directory / "changes").read_text().splitlines()
    assert len(changes) == CHANGES_OF_A_RELIEF


def test_settle_removes_what_has_ended_and_was_never_started(engine: Engine) -> None:
    engine.add(NAME, "good")
    engine.add(NEXT, "good", "created")
    engine.add(ENDING, "good", "exited")
    engine.add(f"{NAME}.ending-other0123456", "other")
    assert engine.run("settle").returncode == 0
    assert engine.containers.keys() == {NAME, f"{NAME}.ending-other0123456"}


def test_no_lock_is_kept_by_what_ends(engine: Engine) -> None:
    """Its old streams may go on for an hour; the next run does not wait for them."""
    engine.add(NAME, "good")
    assert relieve(engine, "slow").returncode == 0
    began = time.monotonic()
    assert engine.run("settle").returncode == 0
    # the engine's wait is two seconds
    assert ENDING in engine.containers
    assert time.monotonic() - began < 60


def test_containers_that_are_removed_with_the_deployment_are_told_to_end(engine: Engine) -> None:
    """All at the same time, each with its own stop timeout; one that is not there is no problem."""
    for name in (NAME, "demo-postgres-0"):
        engine.add(name, "some:1")
    done = engine.call("stop", f"{NAME},demo-none-0,demo-postgres-0", "0")
    assert (done.returncode, done.stdout) == (0, "")
    assert [call for call in engine.log if " stop " in call] == [
        f"docker container stop {NAME} demo-postgres-0"
    ]


def test_one_that_is_to_be_emptied_keeps_nothing_that_a_killed_run_prepared(engine: Engine) -> None:
    """Also where it makes room for a replica on several hosts."""
    for name in (GONE, f"{GONE}.next", f"{ONE}.next"):
        engine.add(name, "good")
    assert engine.call("halt", f"{GONE},{ONE}", "0", GONE).returncode == 0
    assert set(engine.containers) == {f"{GONE}.previous", f"{ONE}.next"}


def test_what_is_to_be_emptied_stays_set_aside_until_then(engine: Engine) -> None:
    """The others go when the new one is healthy; if it does not become so, all come back."""
    for name in (NAME, "demo-a-0", "demo-b-0"):
        engine.add(name, "good")
    engine.run("prepare", "30", "2", "slow", stdin=SECRETS)
    done = engine.call("swap", f"{NAME},demo-a-0,demo-b-0", "0", "keep=demo-a-0", NAME, "20")
    assert done.returncode == 0, done.stdout
    assert engine.containers == {
        NAME: ("slow", "running"),
        "demo-a-0.previous": ("good", "exited"),
    }
