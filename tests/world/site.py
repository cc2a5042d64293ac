"""A deployment in the world, and what is to be seen there past the operations."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.artefacts import Artefacts, make_artefacts
from deploy.inventory import load_inventory
from tests.e2e.site import Operator, Result
from tests.recognisable import write_secrets

ROOT = Path(__file__).parents[2]
PROGRAM = """#!/bin/sh
exec {python} -S -E -c 'import sys; sys.path.insert(0, "{here}")
import programs; programs.main()' {name} "$@"
"""
NAMES = ("docker", "systemctl", "curl", "ollama", "journalctl", "sleep")
LAST = "verify.ask(deployment)\n"
INVENTORY = """
import json
import sys
from pathlib import Path

from deploy import Deployment, pyinfra_hosts

world = Path(__file__).parent
settings = json.loads((world / "settings.json").read_text())
deployment = Deployment(**settings)
fake = {"fake_delay": 0, "fake_delay_jitter": 0}
hosts = [(name, data | fake) for name, data in pyinfra_hosts(deployment, __file__)]
if "pyinfra_cli" in sys.modules:
    from tests.world.connector import install

    install(world, json.loads((world / "machines.json").read_text()))
"""
Settings = dict[str, Any]
BASE: Settings = {
    "name": "demo",
    "profile": "individual",
    "image_source": "pull",
    "models": [{"name": "tiny-coder"}],
    "web_ui": None,
}
KILLED = -9


@dataclass
class World(Operator):
    """Hosts that remember, and what is declared for them."""

    directory: Path
    environment: dict[str, str] = field(default_factory=dict)
    memory_gib: int = 64
    """Memory of each machine."""
    timeout_seconds = 120

    def __post_init__(self) -> None:
        self.directory.mkdir(exist_ok=True)
        deploy = (ROOT / "deploy.py").read_text()
        assert deploy.endswith(LAST)
        # nothing would answer
        path = self.directory / "all_but_verify.py"
        path.write_text(deploy.removesuffix(LAST))
        self.deploy_file = str(path)
        programs = self.directory / "bin"
        programs.mkdir(exist_ok=True)
        for name in NAMES:
            program = programs / name
            program.write_text(
                PROGRAM.format(python=_PYTHON, here=Path(__file__).parent, name=name)
            )
            program.chmod(0o755)

    def declare(self, settings: Settings, machines: Mapping[str, str] | None = None) -> Artefacts:
        """Declare settings over the usual ones.

        Args:
            settings: of the deployment; hosts are given a directory.
            machines: what machine each host is, by the host's name; by default one of its name.
        """
        wanted = BASE | settings
        hosts = [dict(host) for host in wanted["hosts"]]
        places = {
            h["name"]: (machines or {}).get(h["name"], h["name"].split("/")[-1]) for h in hosts
        }
        for host in hosts:
            machine = self.directory / places[host["name"]]
            for folder in ("systemd", "services", "volumes"):
                (machine / folder).mkdir(parents=True, exist_ok=True)
            (machine / "meminfo").write_text(f"MemTotal: {self.memory_gib * 1024**2} kB\n")
            host["directory"] = str(machine / "lib")
        (self.directory / "settings.json").write_text(json.dumps(wanted | {"hosts": hosts}))
        (self.directory / "machines.json").write_text(json.dumps(places))
        self.inventory.write_text(INVENTORY)
        secrets = self.directory / ".secrets" / "demo.yaml"
        if not secrets.exists():
            write_secrets(secrets)
        declared = load_inventory(self.inventory)
        return make_artefacts(declared.spec, declared.directory)

    def run(self, *flags: str) -> Result:
        for name in ("changes", "killed-*", "unknown"):
            for path in self.directory.glob(name):
                path.unlink()
        (self.directory / "changes").touch()
        result = super().run(*flags)
        unknown = self.directory / "unknown"
        assert not unknown.exists(), unknown.read_text()
        return result

    def kill(self, after: int) -> bool:
        """Deploy, and kill it after so many changes; whether it lived that long."""
        self.environment["WORLD_KILL"] = str(after)
        result = self.deploy()
        del self.environment["WORLD_KILL"]
        assert result.status in {0, KILLED}, result.output
        return result.status == KILLED

    @property
    def changes(self) -> list[str]:
        """What the last run changed: host, verb and names, a line each."""
        return (self.directory / "changes").read_text().splitlines()

    def state(self, machine: str) -> dict[str, Any]:
        """What a machine has."""
        path = self.directory / machine / "state.json"
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return found

    @contextmanager
    def change(self, machine: str) -> Iterator[dict[str, Any]]:
        """What a machine has, to be changed."""
        state = self.state(machine)
        yield state
        (self.directory / machine / "state.json").write_text(json.dumps(state))

    def running(self) -> dict[str, set[str]]:
        """What runs on each machine, by its name."""
        found = {}
        for path in sorted(self.directory.glob("*/state.json")):
            state = json.loads(path.read_text())
            names = {n for n, each in state["containers"].items() if each["status"] == "running"}
            names |= {n for n, each in state["services"].items() if each["running"]}
            found[path.parent.name] = names
        return found

    def left(self) -> dict[str, set[str]]:
        """What is on each machine and does not run."""
        running = self.running()
        return {
            name: {*self.state(name)["containers"], *self.state(name)["services"]} - running[name]
            for name in running
        }

    def keep(self) -> Path:
        """The world as it is."""
        kept = self.directory.with_name(f"{self.directory.name}-kept")
        if kept.exists():
            shutil.rmtree(kept)
        shutil.copytree(self.directory, kept, symlinks=True)
        return kept

    def go_back(self, kept: Path) -> None:
        """To what it was."""
        shutil.rmtree(self.directory)
        shutil.copytree(kept, self.directory, symlinks=True)


_PYTHON = sys._base_executable  # type: ignore[attr-defined]
