"""The same stack, deployed by Ansible with the collection community.docker."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.stack import PROJECT, Run, timed
from deploy.artefacts import Artefacts
from deploy.live.checks import MAX_TOKENS, MESSAGES, PROMPT
from deploy.plan.service_plans import WebUIPlan
from deploy.services import Unit
from deploy.services.container_parts import HealthCheck, Mount
from deploy.spec.secrets import SecretName

PLAYBOOK = PROJECT / ".cache" / "ansible" / "bin" / "ansible-playbook"
FILES = Path(__file__).parent / "ansible"
DIRECTORY = "/srv/bench"
ANSIBLES = {"Ansible": False, "Ansible with Mitogen": True}
"""Whether Mitogen's strategy is used, by what the tables call it."""


@dataclass(frozen=True)
class Login:
    """How a host is reached."""

    address: str
    port: int
    user: str
    key: Path
    known_hosts: Path

    def variables(self) -> dict[str, Any]:
        """The variables of Ansible's connection."""
        return {
            "ansible_host": self.address,
            "ansible_port": self.port,
            "ansible_user": self.user,
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={self.known_hosts}",
        }


@dataclass(frozen=True)
class Playbook:
    """A playbook and the inventory it is run with."""

    name: str
    inventory: Path
    mitogen: bool = False
    """Whether modules are run by Mitogen's interpreter on the host, instead of one each."""

    def run(self, *flags: str) -> Run:
        """Run it as an operator does, with a connection that nothing has opened before."""
        control = self.inventory.parent / "control"
        environment = {
            "ANSIBLE_CONFIG": str(FILES / "ansible.cfg"),
            "HOME": str(self.inventory.parent),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(control),
            **(_mitogen() if self.mitogen else {}),
        }
        command = [str(PLAYBOOK), "-i", str(self.inventory), str(FILES / self.name), *flags]
        try:
            return timed(command, FILES, environment)
        finally:
            _close(control)


def _mitogen() -> dict[str, str]:
    """The settings of Mitogen's documentation: https://mitogen.networkgenomics.com/ansible_detailed.html."""
    (place,) = (PLAYBOOK.parent.parent / "lib").glob("*/site-packages/ansible_mitogen")
    plugins = place / "plugins" / "strategy"
    return {"ANSIBLE_STRATEGY": "mitogen_linear", "ANSIBLE_STRATEGY_PLUGINS": str(plugins)}


def _close(control: Path) -> None:
    """End the shared connections, so that the next run opens its own."""
    for path in control.glob("*"):
        command = ["ssh", "-o", f"ControlPath={path}", "-O", "exit", "host"]
        subprocess.run(command, capture_output=True)


def stack_playbook(artefacts: Artefacts, login: Login, daemon_json: str, place: Path) -> Playbook:
    """The playbook of the whole stack, for one host.

    Args:
        artefacts: the stack as Atelier deploys it.
        login: its host.
        daemon_json: what Docker's daemon is configured with.
        place: a directory for the inventory.
    """
    variables = login.variables() | _variables(artefacts) | {"daemon_json": daemon_json}
    return Playbook("site.yml", write_inventory(place, {"box": variables}))


def write_inventory(place: Path, hosts: dict[str, dict[str, Any]]) -> Path:
    """An inventory in YAML."""
    path = place / "ansible.yaml"
    path.write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    return path


def _variables(artefacts: Artefacts) -> dict[str, Any]:
    engine, router, web_ui = (artefacts.stack.tier(tier)[0] for tier in artefacts.stack.tiers())
    plan = artefacts.plan
    assert engine.model_file is not None  # noqa: S101 - the benchmark's engine has one
    assert plan.web_ui is not None  # noqa: S101
    model = plan.default_model
    secrets = {str(name): artefacts.secrets.value(name) for name in artefacts.stack.secrets}
    containers = [_container(item, artefacts) for item in (engine, router, web_ui)]
    # Atelier's router reads it from a file, which the playbook does not write
    containers[1]["env"] |= {"ENGINE_API_KEY": secrets[str(SecretName.ENGINE_API_KEY)]}
    return {
        "directory": DIRECTORY,
        "network": plan.name,
        "volume": f"{plan.name}-open-webui",
        "model_file": str(engine.model_file.source.path),
        "engine": {"name": engine.container.name, "model": model},
        "router": {"name": router.container.name, "port": plan.router.spec.port},
        "web_ui": _web_ui(plan.web_ui),
        "containers": containers,
        "secrets": secrets,
        "completion": {"model": model, "max_tokens": MAX_TOKENS} | PROMPT,
        "chat": {"model": model, "max_tokens": MAX_TOKENS} | MESSAGES,
    }


def _web_ui(plan: WebUIPlan) -> dict[str, Any]:
    return {"port": plan.spec.port, "email": plan.spec.admin_email}


def _container(unit: Unit, artefacts: Artefacts) -> dict[str, Any]:
    spec = unit.container
    secret = {name: artefacts.secrets.render(text) for name, text in spec.secret_env.items()}
    return {
        "name": spec.name,
        "image": spec.image,
        "command": list(spec.command),
        "env": spec.env | secret,
        "volumes": [_volume(str(target), mount) for target, mount in spec.mounts.items()],
        "ports": [f"{port.host_ip}:{port.host_port}:{port.container_port}" for port in spec.ports],
        "user": spec.user,
        "read_only": spec.read_only,
        "tmpfs": [str(path) for path in spec.tmpfs],
        "memory": str(spec.memory_bytes),
        "pids_limit": spec.pids_limit,
        "healthcheck": _health(spec.healthcheck),
    }


def _volume(target: str, mount: Mount) -> str:
    places = {"/models": f"{DIRECTORY}/models", "/etc/litellm": f"{DIRECTORY}/litellm"}
    return f"{places.get(target, mount.source)}:{target}:{'ro' if mount.read_only else 'rw'}"


def _health(check: HealthCheck) -> dict[str, Any]:
    return {
        "test": ["CMD-SHELL", check.command],
        # as Atelier does where Docker is older than 25 and has no interval for the start
        "interval": f"{2 * check.start_interval_seconds}s",
        "timeout": f"{check.timeout_seconds}s",
        "start_period": f"{check.start_period_seconds}s",
        "retries": check.retries,
    }
