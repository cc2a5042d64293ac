"""Makes hosts of pyinfra's ``@fake`` connector those of the world, within a run of pyinfra."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import gevent.subprocess
from pyinfra import host
from pyinfra.connectors.fake import FakeConnector
from pyinfra.connectors.util import CommandOutput, OutputLine

from deploy.artefacts import Artefacts
from deploy.catalog import load_catalog
from deploy.facts import look
from deploy.facts.engine import Resources
from deploy.facts.images import Images
from deploy.facts.look import Look, Question
from deploy.facts.routing import Routing
from deploy.facts.units import Units
from deploy.plan.host_gpus import gpu_names
from deploy.tasks.current import current_deployment
from tests.fake_host import converged

SEEN = (Units, Resources, Images, Routing)
"""What is asked of the world; the rest is answered as on a host that has everything."""
PLACES = {
    "/etc/atelier/services": "services",
    "/etc/systemd/system": "systemd",
    "/run/systemd/system": "systemd",
    "/proc/meminfo": "meminfo",
}


def install(world: Path, machines: dict[str, str]) -> None:
    """Let commands run in the world.

    Args:
        world: its directory.
        machines: directory of each host in it, by the host's name.
    """

    def run(connector: FakeConnector, command: Any, **arguments: Any) -> tuple[bool, CommandOutput]:
        text = command if isinstance(command, str) else command.get_raw_value()
        if " hold " in text and "flock" in text:
            return True, _output(['{"lock":"taken","now":1,"record":null}'])
        machine = world / machines[connector.host.name]
        done = _run(world, machine, text, arguments.get("_stdin", ""))
        # not one that what an earlier run has left behind is the last to make
        if (world / f"killed-{os.environ.get('WORLD_KILL', '0')}").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return done.returncode == 0, _output(done.stdout.splitlines())

    def seen(questions: tuple[Question, ...]) -> dict[Question, Any]:
        artefacts, machine = current_deployment(), world / machines[host.name]
        asked = [each for each in questions if each.fact in SEEN]
        text = Look().command(tuple(each.shell for each in asked))
        done = _run(world, machine, text, "")
        assert done.returncode == 0, done.stdout
        lines = Look().process(done.stdout.splitlines())
        answers = {each: each.parse(lines.get(n, [])) for n, each in enumerate(asked)}
        has = _has(artefacts, machine)
        for each in questions:
            if each not in answers:
                answers[each] = each.parse(_said(has, each.shell))
        return answers

    FakeConnector.run_shell_command = run  # type: ignore[assignment, method-assign]
    look._look = seen


def _run(world: Path, machine: Path, text: str, stdin: Any) -> subprocess.CompletedProcess[str]:
    for place, folder in PLACES.items():
        # what a unit file says stays as it is
        text = re.sub(f"(?<!File=){place}", str(machine / folder), text)
    environment = {
        "PATH": f"{world / 'bin'}:{os.environ['PATH']}",
        "TMPDIR": str(machine),
        "WORLD": str(world),
        "WORLD_HOST": str(machine),
        "WORLD_KILL": os.environ.get("WORLD_KILL", "0"),
    }
    done: subprocess.CompletedProcess[str] = gevent.subprocess.run(
        ["sh", "-c", text],
        env=environment,
        input=str(stdin or ""),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    return done


def _output(lines: Iterable[str]) -> CommandOutput:
    return CommandOutput([OutputLine("stdout", line) for line in lines])


def _has(artefacts: Artefacts, machine: Path) -> dict[str, list[str]]:
    """Answers of a host that has all that is declared, but for what it knows of secrets."""
    answers = converged(artefacts, host.name)
    known = artefacts.context.directory(host.name) / "secrets.fingerprint"
    engine = answers["@engine"]
    engine[engine.index("@fingerprint") + 1 :] = (
        Path(known).read_text().splitlines() if Path(known).exists() else []
    )
    kib = int((machine / "meminfo").read_text().split()[1])
    engine[engine.index("@memory") + 1] = str(kib * 1024)
    programs = [each.program.path for each in artefacts.stack.on(host.name) if each.program]
    engine += ["@uid", "0", "@systemd", "yes", "@sizes", *(f"1 {path}" for path in programs)]
    count = len(gpu_names(artefacts.host(host.name), load_catalog()))
    return {"@nvidia": _cards(count), **answers}


def _cards(count: int) -> list[str]:
    """What nvidia-smi says of so many cards."""
    address, driver = "00000000:{:02d}:00.0", "580.173.02"
    return [
        "@pci",
        *(
            f"{address.format(n)[4:]} 3D controller [0302]: NVIDIA Corporation Device [10de:26b9]"
            for n in range(count)
        ),
        "@nvidia",
        *(
            f"{n}, GPU-{n}, NVIDIA L40S, 46068, {driver}, {address.format(n)}, [N/A], Enabled, "
            "Enabled, Enabled, Default, 350.00, 350.00"
            for n in range(count)
        ),
        *("@nvidia_status", "0", "@nvidia_banner", f"| Driver {driver} CUDA Version: 13.0 |"),
        "@nvidia_list",
    ]


def _said(has: dict[str, list[str]], shell: str) -> list[str]:
    return next((answer for match, answer in has.items() if match in shell), [])
