"""The whole stack on one host: on this machine, and on a Debian host over SSH."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bench.ansible_stack import ANSIBLES, DIRECTORY, Login, Playbook, stack_playbook
from bench.measure import Row, repeat
from bench.proxy import delaying_proxy
from bench.sshd_log import SshdLog
from bench.stack import Stack
from deploy import Deployment
from deploy.artefacts import make_artefacts
from deploy.catalog import load_catalog
from deploy.images import build_images, make_build_plan
from tests.e2e.hosts import USER, Host, run_host
from tests.e2e.names import host_name
from tests.e2e.site import free_port

NAME = "bench"
HOST = host_name("bench")
IMAGES = ("llama-cpp", "litellm", "open-webui")
TIMES = 5
FIRST, NOOP, DRY = "first deployment", "redeployment, no change", "dry run, no change"
LEFTOVERS = (
    f"docker rm -f $(docker ps -aq --filter network={NAME}); docker network rm {NAME}; "
    f"docker volume rm {NAME}-open-webui; rm -rf /var/lib/atelier {DIRECTORY}"
)


def build() -> dict[str, str]:
    """The images, built here if they are not there yet; their tags by name."""
    catalog = load_catalog()
    plans = {name: make_build_plan(name, catalog) for name in IMAGES}
    build_images(plans.values(), report=print)
    return {name: plan.tag for name, plan in plans.items()}


def on_this_machine(directory: Path, times: int = TIMES) -> Iterator[Row]:
    """Atelier alone, without SSH."""
    where = "this machine"
    settings = _settings({"name": "@local", "directory": str(directory / "host")}) | {
        "router": {"port": free_port()},
        "web_ui": {"port": free_port()},
        "image_source": "build",
    }
    stack = Stack(directory, settings)
    try:
        yield repeat(Row(where, FIRST, "Atelier"), 1, partial(stack.run, "-y"))
        commands = len(re.findall(r"^\[@local\] >>> ", stack.run("-y", "-vvv").output, re.M))
        for what, flags in ((NOOP, ("-y",)), (DRY, ("--dry", "--diff"))):
            row = repeat(Row(where, what, "Atelier"), times, partial(stack.run, *flags))
            row.commands = commands
            row.steps = stack.trace(*flags) if what == NOOP else {}
            yield row
    finally:
        subprocess.run(["sh", "-c", LEFTOVERS], capture_output=True)


def over_ssh(
    directory: Path, images: dict[str, str], round_trip: float, times: int = TIMES
) -> Iterator[Row]:
    """Atelier, Ansible and Ansible with Mitogen, one after the other on the same host."""
    where = f"SSH, {round_trip * 1000:.0f} ms"
    with run_host(HOST, directory) as host, delaying_proxy(host.address, 22, round_trip) as port:
        stack, playbook = _prepare(directory, host, port, images)
        log = SshdLog(host)
        atelier = {FIRST: ("-y",), NOOP: ("-y",), DRY: ("--dry", "--diff")}
        for what, flags in atelier.items():
            run = partial(stack.run, *flags)
            row = repeat(Row(where, what, "Atelier"), _times(what, times), run, log.start)
            row.steps = stack.trace(*flags) if what == NOOP else {}
            yield row
        ansible: dict[str, tuple[str, ...]] = {FIRST: (), NOOP: (), DRY: ("--check", "--diff")}
        for tool, mitogen in ANSIBLES.items():
            host.run(LEFTOVERS, check=False)
            for what, flags in ansible.items():
                run = partial(replace(playbook, mitogen=mitogen).run, *flags)
                yield repeat(Row(where, what, tool), _times(what, times), run, log.start)


def _times(what: str, times: int) -> int:
    return 1 if what == FIRST else times


def _prepare(
    directory: Path, host: Host, port: int, images: dict[str, str]
) -> tuple[Stack, Playbook]:
    """Docker, the images and what Ansible's modules need; that is not part of what is measured."""
    known_hosts = directory / ".ssh" / "known_hosts"
    known_hosts.parent.mkdir()
    line = host.known_host()
    known_hosts.write_text(line + line.replace(host.address, f"[127.0.0.1]:{port}"))
    near = {"address": host.address, "ssh_port": 22}
    login = {"name": "box", "ssh_user": USER, "ssh_key": str(host.key), "sudo": True}
    references = {name: {"reference": tag} for name, tag in images.items()}
    Stack(directory, _settings(login | near) | {"images": references}).prepare_host()
    host.run("apt-get install -q -y --no-install-recommends python3-requests python3-apt")
    save = ["docker", "image", "save", *images.values()]
    load = ["docker", "exec", "-i", host.name, "docker", "image", "load", "--quiet"]
    with subprocess.Popen(save, stdout=subprocess.PIPE) as archive:
        subprocess.run(load, stdin=archive.stdout, check=True, capture_output=True)
    far = {"address": "127.0.0.1", "ssh_port": port}
    stack = Stack(directory, _settings(login | far) | {"images": references})
    ansible = Login("127.0.0.1", port, USER, host.key, known_hosts)
    artefacts = make_artefacts(Deployment(**stack.settings), directory)
    daemon_json = host.run("cat /etc/docker/daemon.json") + "\n"
    return stack, stack_playbook(artefacts, ansible, daemon_json, directory)


def _settings(host: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": NAME,
        "profile": "individual",
        "hosts": [host],
        "models": [{"name": "tiny-coder"}],
        "image_source": "pull",
    }
