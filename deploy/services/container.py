"""A container as Atelier wants it: pure data, its label, and the arguments that create it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any, Literal

from pydantic import Field

from deploy.services.container_parts import HealthCheck, Mount, Port
from deploy.services.runs import (
    Facts,
    Marks,
    Part,
    RenderSecret,
    SecretDigest,
    Secrets,
    canonical_json,
    plain,
    secret,
)
from deploy.spec import EnvironmentValue, SecretSource, SecretText

LABEL_DEPLOYMENT = "io.atelier.deployment"
LABEL_SERVICE = "io.atelier.service"
LABEL_SPEC = "io.atelier.spec"
LABEL_HOLDS = "io.atelier.holds"

HARDWARE = ("gpus", "devices", "group_add", "ipc", "shm_size_bytes", "ulimits", "cap_add")
SOME = (*HARDWARE, "entrypoint")
"""Fields that only some containers have."""
UNWRITTEN = {"kind", "gives_way", "keeps_image"}
"""Fields that say how it is replaced, and nothing of how it runs."""

PROXIES = tuple(
    variable
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY")
    for variable in (name, name.lower())
)
"""Environment variables that Docker's client sets in containers where its configuration has proxies
(https://docs.docker.com/engine/cli/proxy/)."""
CLIENT_SETTINGS = ("DOCKER_CONTENT_TRUST", "DOCKER_DEFAULT_PLATFORM")
"""Environment variables with which Docker's client wants signatures that images from archives do
not have, or another platform than the host's; docker_client.sh removes them on hosts."""
ITSELF = "localhost,127.0.0.1"
LOOPBACK = "127.0.0.1"
HOST_NETWORK = "host"
"""Docker's name for no network of its own: the container is where its host is."""
UNKNOWN_IMAGE = "(to be fetched)"
NO_DUMPS = {"core": 0}
"""A program that crashes must not write its memory to a disk, with what people asked in it.

Docker's own service has no limit (``LimitCORE=infinity``), and containers inherit that."""


class ContainerSpec(Part):
    """Everything that decides how a container runs.

    ``None`` and empty values mean Docker's own default.
    """

    kind: Literal["container"] = "container"
    name: str
    service: str
    image: str
    """Reference with a version, digest or content hash."""
    entrypoint: str = ""
    """Program to start instead of the image's own."""
    command: tuple[str, ...] = ()
    env: dict[str, str | SecretText] = Field(default_factory=dict)
    mounts: dict[PurePosixPath, Mount] = Field(default_factory=dict)
    """By path inside the container."""
    tmpfs: tuple[PurePosixPath, ...] = ()
    """Paths inside the container held in memory."""
    ports: tuple[Port, ...] = ()
    """Published; in the host's network, those that it listens on."""
    network: str
    """The deployment's, or the host's."""
    user: str = ""
    read_only: bool = False
    """Whether its root file system is read-only."""
    memory_bytes: int
    pids_limit: int = 2048
    restart: Literal["no", "always", "unless-stopped", "on-failure"] = "unless-stopped"
    stop_timeout_seconds: int = 10
    healthcheck: HealthCheck
    cap_add: tuple[str, ...] = ()
    """Capabilities that it has although all others are taken away."""
    cap_drop: tuple[str, ...] = ("ALL",)
    security_opt: tuple[str, ...] = ("no-new-privileges",)
    log_driver: str = "json-file"
    log_max_size: str = "10m"
    log_max_files: int = 3
    gpus: tuple[int | str, ...] = ()
    """Indices of NVIDIA GPUs, through the container toolkit's runtime."""
    devices: tuple[str, ...] = ()
    """Devices of the host, by path or by CDI name."""
    group_add: tuple[int, ...] = ()
    """Groups that its user is in, by number."""
    ipc: Literal["", "host"] = ""
    """``host`` for the host's shared memory."""
    shm_size_bytes: int = 0
    """Shared memory."""
    ulimits: dict[str, int] = Field(default_factory=NO_DUMPS.copy)
    """Resource limits, soft and hard, e.g. ``{"memlock": -1}``."""
    gives_way: bool = False
    """Whether another one may run beside it, and SIGHUP has it end with its last answer: then the
    new one starts first, and the old one ends when that is healthy."""
    keeps_image: bool = False
    """Whether it stays with the image that it was made from until something else is changed."""

    @property
    def noun(self) -> str:
        """What it is called."""
        return "container"

    @property
    def made_from(self) -> tuple[str, str]:
        """Its image."""
        return "image", self.image

    @property
    def listens(self) -> tuple[tuple[str, int], ...]:
        """Addresses and ports of the host that it answers on."""
        return tuple((port.host_ip, port.host_port) for port in self.ports)

    @property
    def plain_env(self) -> dict[str, str]:
        """Environment variables that may be seen."""
        return plain(self.env)

    @property
    def secret_env(self) -> dict[str, SecretText]:
        """Environment variables that may not."""
        return secret(self.env)

    @property
    def last_line_command(self) -> tuple[str, ...]:
        """Ask Docker."""
        return ("docker", "container", "logs", "--tail", "1", self.name)

    def public(self, digest: SecretDigest) -> dict[str, Any]:
        """The whole description as plain data, with digests in the place of secrets."""
        unwritten = UNWRITTEN | ({"image"} if self.keeps_image else set())
        data = self.model_dump(mode="json", exclude=unwritten) | {"env": self.plain_env}
        # left out where unset: the label of a container that needs none of them never changes
        for name in SOME:
            if not data[name]:
                del data[name]
        data["secret_env"] = {name: digest(text) for name, text in self.secret_env.items()}
        return data

    @property
    def volumes(self) -> tuple[str, ...]:
        """Names of its volumes."""
        return tuple(mount.source for mount in self.mounts.values() if mount.kind == "volume")

    @property
    def create_options(self) -> tuple[str, ...]:
        """The script is told the intervals of health checks: only it knows what Docker can do."""
        check = self.healthcheck
        return str(check.interval_seconds), str(check.start_interval_seconds)

    def facts(self, marks: Marks, image_id: str | None, secrets: Secrets) -> Facts:  # noqa: ARG002
        """What Docker says of it apart from its label."""
        image = {} if self.keeps_image else {"live image id": ("image", image_id or UNKNOWN_IMAGE)}
        return image | {
            "live memory_bytes": ("memory_bytes", str(self.memory_bytes)),
            "live restart": ("restart", self.restart),
            "live networks": ("network", self.network),
        }

    def secret_environment(self, render: RenderSecret) -> str:
        """A line for each secret variable, as ``--env-file`` reads them."""
        return "\n".join(f"{name}={render(text)}" for name, text in self.secret_env.items())

    def create_arguments(self, marks: Marks, digest: SecretDigest) -> list[str]:
        """The arguments of ``docker container create`` except name, secrets and intervals."""
        arguments = [
            *_flags("--label", self.labels(marks, digest)),
            *self._network_arguments,
            *("--restart", self.restart, "--stop-timeout", str(self.stop_timeout_seconds)),
            *("--memory", str(self.memory_bytes), "--pids-limit", str(self.pids_limit)),
            *_each("--cap-drop", self.cap_drop),
            *_each("--cap-add", self.cap_add),
            *_each("--security-opt", self.security_opt),
            *("--log-driver", self.log_driver, "--log-opt", f"max-size={self.log_max_size}"),
            *("--log-opt", f"max-file={self.log_max_files}"),
            *self._proxy_arguments(),
            *_flags("--env", self.plain_env),
            *self.healthcheck.arguments,
        ]
        if self.entrypoint:
            arguments += ["--entrypoint", self.entrypoint]
        arguments += self._user_arguments
        if self.read_only:
            arguments += ["--read-only"]
        arguments += _each("--tmpfs", self.tmpfs)
        arguments += self._mount_arguments
        if not self.is_on_host_network:
            arguments += _each("--publish", (port.argument for port in self.ports))
        return [*arguments, *self._hardware_arguments(), self.image, *self.command]

    def once_arguments(self, *command: str) -> list[str]:
        """Arguments of Docker that run a command with its image and files, and no network."""
        return [
            *("container", "run", "--rm", "--network", "none"),
            *_each("--cap-drop", self.cap_drop),
            *_each("--cap-add", self.cap_add),
            *self._user_arguments,
            *self._mount_arguments,
            *("--entrypoint", command[0], self.image, *command[1:]),
        ]

    def access_arguments(self) -> list[str]:
        """What gives it its devices, and what is taken from it, as arguments of Docker."""
        alone = self.model_copy(update={"ipc": "", "shm_size_bytes": 0, "ulimits": {}})
        return [
            *alone._hardware_arguments(),
            *_each("--cap-drop", self.cap_drop),
            *_each("--security-opt", self.security_opt),
            *self._user_arguments,
        ]

    def labels(self, marks: Marks, digest: SecretDigest) -> dict[str, str]:
        """What is written on the container, for the next run to compare with."""
        return {
            LABEL_DEPLOYMENT: marks.deployment,
            LABEL_SERVICE: self.service,
            LABEL_HOLDS: marks.holds,
            LABEL_SPEC: canonical_json(self.public(digest)),
        }

    @property
    def is_on_host_network(self) -> bool:
        """Whether it is where its host is."""
        return self.network == HOST_NETWORK

    @property
    def _network_arguments(self) -> tuple[str, ...]:
        """In the host's network, names and published ports mean nothing to Docker."""
        alias = () if self.is_on_host_network else ("--network-alias", self.name)
        return ("--network", self.network, *alias)

    @property
    def _user_arguments(self) -> tuple[str, ...]:
        return ("--user", self.user) if self.user else ()

    @property
    def _mount_arguments(self) -> list[str]:
        return _each("--mount", (mount.argument(path) for path, mount in self.mounts.items()))

    def _hardware_arguments(self) -> list[str]:
        arguments = []
        if self.gpus:
            # the value is read as CSV: the quotes keep the list of indices in one field
            arguments += ["--gpus", f'"device={",".join(map(str, self.gpus))}"']
        arguments += [*_each("--device", self.devices), *_each("--group-add", self.group_add)]
        if self.ipc:
            arguments += ["--ipc", self.ipc]
        if self.shm_size_bytes:
            arguments += ["--shm-size", str(self.shm_size_bytes)]
        limits = {name: f"{limit}:{limit}" for name, limit in self.ulimits.items()}
        return [*arguments, *_flags("--ulimit", limits)]

    def _proxy_arguments(self) -> list[str]:
        """Only declared proxies are set: a variable without a value is not.

        The health check asks the container itself, past a proxy that is declared.
        """
        declared = [name for name in PROXIES if name in self.env]
        values = {name: name for name in PROXIES if name not in declared}
        if declared and not {"NO_PROXY", "no_proxy"} & set(declared):
            values |= {name: f"{name}={ITSELF}" for name in ("NO_PROXY", "no_proxy")}
        return _each("--env", values.values())


def _flags(flag: str, values: Mapping[str, str]) -> list[str]:
    return _each(flag, (f"{name}={value}" for name, value in sorted(values.items())))


def _each(flag: str, values: Iterable[object]) -> list[str]:
    """The same option once for each value."""
    return [part for value in values for part in (flag, str(value))]


def environment(values: Mapping[str, EnvironmentValue]) -> dict[str, str | SecretText]:
    """Declared environment variables as a container has them."""
    return {
        name: SecretText.of(value.name) if isinstance(value, SecretSource) else value
        for name, value in values.items()
    }
