"""Where an end of a link runs: in a container, or as a daemon of a Mac.

On a Mac, HAProxy is a program that the site installs: it has no releases for macOS, and Homebrew,
which has one, keeps no version. It runs as the account of the engines, never as root, because
administrators may write to Homebrew's directory. Its own sockets are files of that account: a
port of the loopback interface would be open to every user of the Mac.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from deploy.plan.addresses import host_and_port
from deploy.plan.service_plans import LinksPlan
from deploy.render import TEMPLATES
from deploy.services import haproxy_watch
from deploy.services.context import ServiceContext
from deploy.services.haproxy import HEALTH_PORT, RUNTIME_PORT, STOP_SECONDS, USER
from deploy.services.haproxy_watch import TAKEN
from deploy.services.host_files import WATCHED, ConfigFile, ConfigTree
from deploy.services.host_service import data_directory
from deploy.services.launchd import LaunchdSpec

PROGRAM = "haproxy"
START = "watch_on_mac.sh"
RUNTIME, HEALTH = "runtime", "health"
"""Its sockets."""
OWNER_ALONE = 0o600
DIRECTORY = "link"
"""Of its data; short, because paths of sockets have at most 103 characters on macOS (unix(4))."""


@dataclass(frozen=True)
class Place:
    """Where HAProxy listens."""

    requests: str
    """For requests: address and port."""
    runtime: str
    """For commands, and for the one that takes its place."""
    health: str
    """For whoever asks whether it is healthy."""
    user: int | None = None
    """Whom it becomes in a container when it has read its key; ``None`` without one."""

    @property
    def is_container(self) -> bool:
        """Whether it is in a container, and asks Docker where others are."""
        return self.user is not None


def in_container(port: int) -> Place:
    """The place of an end in a container."""
    return Place(f":{port}", f"ipv4@127.0.0.1:{RUNTIME_PORT}", f"127.0.0.1:{HEALTH_PORT}", USER)


def on_mac(context: ServiceContext, plan: LinksPlan, host: str) -> Place:
    """The place of an end on a Mac."""
    state = _state(context)
    return Place(
        host_and_port(context.plan.host(host).address, plan.spec.port),
        f"unix@{state / RUNTIME} mode 600",
        f"unix@{state / HEALTH} mode 600",
    )


def daemon(
    context: ServiceContext, plan: LinksPlan, host: str, name: str, service: str
) -> dict[str, Any]:
    """What an end on a Mac is: fields of its unit, but for its files.

    Args:
        context: the deployment.
        plan: its links.
        host: name of the Mac.
        name: name of the end.
        service: what it is.
    """
    program, state = context.program(host, PROGRAM), _state(context)
    start = (TEMPLATES / "haproxy" / START).read_text("utf-8")
    given = (str(program.path), str(_config(context, host, service) / WATCHED), str(state))
    runs = LaunchdSpec(
        name=name,
        service=service,
        version=program.title,
        command=("/bin/sh", "-c", start, START, *given, str(STOP_SECONDS)),
        user=context.service_users[host],
        directory=state,
        memory_bytes=plan.spec.memory_limit,
        stop_timeout_seconds=STOP_SECONDS + 5,
        address=context.plan.host(host).address,
        port=plan.spec.port,
        health=f"curl -fsS -m 4 -o /dev/null --unix-socket {state / HEALTH} http://link/health",
        start_period_seconds=plan.spec.start_timeout_seconds,
    )
    return {"program": program, "runs": runs}


def mac_files(
    context: ServiceContext, host: str, service: str, files: dict[str, ConfigFile]
) -> ConfigTree:
    """The files of an end on a Mac; its key belongs to the account that it runs as.

    Args:
        context: the deployment.
        host: name of the Mac.
        service: what the end is.
        files: its files.
    """
    user = context.service_users[host]
    program = ("sudo", "-n", "-u", user, str(context.program(host, PROGRAM).path))
    config = _config(context, host, service)
    taken = _state(context) / TAKEN.name
    watch = haproxy_watch.watch(config, program, taken)
    return context.config_tree(host, service, owned(files, user), watch)


def owned(files: dict[str, ConfigFile], user: str) -> dict[str, ConfigFile]:
    """Files of which those that only their owner may read belong to an account."""
    return {
        name: file.model_copy(update={"owner": user}) if file.mode == OWNER_ALONE else file
        for name, file in files.items()
    }


def _config(context: ServiceContext, host: str, service: str) -> PurePosixPath:
    return context.directory(host) / "config" / service


def _state(context: ServiceContext) -> PurePosixPath:
    return data_directory(context.plan.name) / DIRECTORY
