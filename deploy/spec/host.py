"""The machines a deployment runs on."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    PositiveInt,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from deploy.spec.addresses import PORT, is_place
from deploy.spec.base import HostPath, Line, Spec, refusal
from deploy.spec.driver import DriverSpec
from deploy.spec.program import HOMEBREW_HAPROXY, ProgramName, ProgramSpec

ADDRESS = re.compile(r"[\w:][\w.:%-]*")
"""A host name, or an address, also one of IPv6."""
NAME = re.compile(r"[^\s,\[\]@-][^\s,\[\]]*")
"""What ``ssh`` knows a host by can be more than a host name."""
LOGIN = re.compile(r"[^\s-]\S*")
HOP = re.compile(rf"([\w.-]+@)?(?P<host>\[[^\s\]]*\]|\w[\w.-]*){PORT}")
"""A jump host: ``user@name:port``, of which only the name is needed."""
LOCAL = "@local"
CONNECTORS = ("@ssh/", "@fake/")
"""pyinfra's ways to a host over SSH, and to one that is made up, for trials."""
MIG_PROFILE = re.compile(r"[1-9]g\.[0-9]+gb")


def _profile_is_one(name: str) -> str:
    if not MIG_PROFILE.fullmatch(name):
        raise refusal(repr(name), "a profile such as '3g.40gb'")
    return name


def _is_hop(text: str) -> bool:
    found = HOP.fullmatch(text)
    return found is not None and is_place(found)


def _leads_to_a_host(address: str) -> str:
    if not ADDRESS.fullmatch(address):
        raise refusal(repr(address), "a host name or an address")
    return address


def _can_log_in(name: str) -> str:
    if not LOGIN.fullmatch(name):
        raise refusal(repr(name), "the name of an account on the host")
    return name


HostAddress = Annotated[str, AfterValidator(_leads_to_a_host)]
Login = Annotated[Line, AfterValidator(_can_log_in)]
MigProfileName = Annotated[
    str,
    AfterValidator(_profile_is_one),
    Field(json_schema_extra={"pattern": f"^{MIG_PROFILE.pattern}$"}),
]
HostKeys = Literal["known", "accept-new"]
WeightsSource = Literal["download", "copy"]
Engines = Literal["containers", "native"]
SystemName = Literal["linux", "macos"]
ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
DockerSource = Literal["distribution", "upstream", "present"]
LINUX_SETTINGS = (
    *("docker", "docker_settings", "driver", "gpu_runtime"),
    *("mig", "power_limit_watts", "gpu_clocks_mhz"),
)
"""Settings that a Mac cannot have."""
GpuNames = Annotated[
    tuple[str, ...],
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class HostSpec(Spec):
    """One machine: this one, or one reached over SSH."""

    name: str
    """``@local`` for this machine, else the name that pyinfra connects to."""
    address: HostAddress | None = None
    """Address or DNS name, where it differs from the name."""
    ssh_user: Login | None = None
    """User to log in as; by default the one of the SSH configuration."""
    ssh_port: int | None = Field(default=None, ge=1, le=65535)
    """Port of the SSH server."""
    ssh_key: Line | None = None
    """Path of the private key on this machine; a relative one starts next to the inventory."""
    ssh_jump: str | None = None
    """Host to go through, e.g. ``me@bastion.lab:2222``; several with commas between them."""
    ssh_host_keys: HostKeys = "known"
    """``known``: the host's key must be in ``~/.ssh/known_hosts``; ``accept-new``: it is added."""
    system: SystemName = "linux"
    """Its operating system: ``linux``, or ``macos`` on a Mac with an Apple chip, whose engines run
    as daemons of launchd."""
    sudo: bool = False
    """Run commands with sudo, for users who may not use Docker themselves."""
    docker: DockerSource | None = None
    """Where Docker comes from: ``distribution``, ``upstream`` or ``present`` (left alone).

    By default it is installed where there is none, and left alone where there is one.
    """
    docker_settings: dict[str, Any] = Field(default_factory=dict)
    """Settings of Docker's daemon.json in addition to Atelier's own; they win over those."""
    gpus: GpuNames = ()
    """Its GPUs, in the order of ``nvidia-smi``: ``"2x l40s"`` or ``["l40s", "l40s"]``."""
    mig: dict[int, tuple[MigProfileName, ...]] = Field(default_factory=dict)
    """NVIDIA: GPUs that are divided into instances (MIG), e.g. ``{0: ["3g.40gb", "3g.40gb"]}``: the
    profiles of each, by its place among ``gpus``. Each instance is a GPU of its own for engines. To
    change the layout, the engines of the host rest."""
    power_limit_watts: int | None = Field(default=None, ge=1)
    """NVIDIA: power limit of each of its GPUs, in watts, within what the card allows; after each
    start of the host as well."""
    gpu_clocks_mhz: tuple[PositiveInt, PositiveInt] | None = None
    """NVIDIA: lowest and highest clock of each of its GPUs, in MHz, e.g. ``(210, 1410)``; after
    each start of the host as well."""
    driver: DriverSpec | None = None
    """Its driver: ``Driver()`` for one that Atelier installs and keeps. ``present``, the default,
    for one that is left alone."""
    gpu_runtime: Literal["nvidia", "cdi"] | None = None
    """How containers reach NVIDIA GPUs: ``cdi``: by the names of CDI devices, which Docker 25 and
    newer know; ``nvidia``: by the hook of the container toolkit. By default ``cdi`` where Atelier
    installs the toolkit, else ``nvidia``."""
    gpu_groups: tuple[int, ...] = (44,)
    """AMD: numeric ids of the groups that own ``/dev/kfd`` and ``/dev/dri/render*``; by default
    ``video`` of Debian and Ubuntu."""
    weights: WeightsSource = "download"
    """How models of Hugging Face come to it: ``download`` by itself, or ``copy``: this machine
    fetches them and copies them there, for hosts with no way out."""
    engines: Engines = "containers"
    """``containers``, or ``native``: engines run as services of the host itself, by systemd, or by
    launchd on macOS, where this is the default; a host that runs nothing else needs no Docker."""
    programs: dict[ProgramName, ProgramSpec] = Field(default_factory=dict)
    """``native``: the program of each engine, e.g. ``{"llama-server": Program(...)}``. On macOS
    also ``haproxy``, which ends links there: by default the one of Homebrew."""
    service_user: str | None = None
    """``native``: account that engines run as; by default one that systemd makes for each. On
    macOS, where launchd makes none, it must be declared, and be there."""
    wired_limit_mib: int | None = Field(default=None, ge=1024)
    """macOS: how much of the memory its GPU may have, in MiB (``iogpu.wired_limit_mb``), after each
    start of the host as well. By default what macOS gives it: 75 % of the memory."""
    directory: HostPath = PurePosixPath("/var/lib/atelier")
    """Where configuration and model files are kept on the host."""

    @model_validator(mode="before")
    @classmethod
    def _engines_of_a_mac_are_native(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("system") == "macos":
            return {"engines": "native"} | data
        return data

    @field_validator("name")
    @classmethod
    def _name_is_connectable(cls, name: str) -> str:
        plain = name
        for connector in CONNECTORS:
            plain = plain.removeprefix(connector)
        if name != LOCAL and not (NAME.fullmatch(plain) and plain.isprintable()):
            fix = f"did you mean {LOCAL!r}?" if name.lower().startswith(LOCAL[:4]) else ""
            raise refusal(repr(name), f"a host name, an address or {LOCAL!r}", fix)
        return name

    @field_validator("gpus", mode="before")
    @classmethod
    def _gpus_may_be_one_text(cls, gpus: Any) -> Any:
        return (gpus,) if isinstance(gpus, str) else gpus

    @field_validator("driver", mode="before")
    @classmethod
    def _driver_may_be_present(cls, driver: Any) -> Any:
        if isinstance(driver, str) and driver != "present":
            raise refusal(repr(driver), "'present', or Driver(...)")
        return None if isinstance(driver, str) else driver

    @field_validator("ssh_jump")
    @classmethod
    def _jump_is_hosts(cls, jump: str | None) -> str | None:
        if jump is not None and not all(_is_hop(hop) for hop in jump.split(",")):
            raise refusal(repr(jump), "user@name:port, of which only the name is needed")
        return jump

    @model_validator(mode="after")
    def _a_mac_has_what_macs_have(self) -> HostSpec:
        if not self.is_mac:
            if self.wired_limit_mib is not None:
                raise refusal("wired_limit_mib without macOS", "system='macos' together with it")
            if "haproxy" in self.programs:
                found = "'haproxy' in programs of a host with Linux, where it runs in a container"
                raise refusal(found, "programs of engines", "remove it")
            return self
        if self.engines != "native":
            found = "engines='containers' on macOS, whose containers do not reach the GPU"
            raise refusal(found, "engines='native'", "remove engines")
        if self.is_local:
            raise refusal("'@local' with system='macos'", "a Mac that is reached over SSH")
        for name in LINUX_SETTINGS:
            if getattr(self, name):
                raise refusal(f"{name} on macOS", "hosts with Linux", f"remove {name}")
        return self

    @model_validator(mode="after")
    def _engines_of_a_mac_have_an_account(self) -> HostSpec:
        if self.is_mac and self.service_user in {None, "root"}:
            found = "root" if self.service_user else "none"
            raise refusal(
                f"{found} as service_user on macOS, where launchd makes no accounts",
                "an account of that Mac that is not an administrator's",
                "declare service_user='NAME'; docs/mac.md shows how to make one",
            )
        return self

    @model_validator(mode="after")
    def _settings_are_of_a_docker_that_is_managed(self) -> HostSpec:
        if self.docker == "present" and self.docker_settings:
            raise refusal(
                "docker_settings for a Docker that is left alone",
                "docker = 'distribution' or 'upstream' together with docker_settings",
                "edit daemon.json on the host, or declare docker = 'distribution'",
            )
        return self

    @field_validator("service_user")
    @classmethod
    def _account_is_a_name(cls, name: str | None) -> str | None:
        if name is not None and not ACCOUNT.fullmatch(name):
            raise refusal(repr(name), "the name of an account on the host, e.g. 'llama'")
        return name

    @model_validator(mode="after")
    def _programs_are_of_native_engines(self) -> HostSpec:
        for name in ("programs", "service_user"):
            if getattr(self, name) and self.engines != "native":
                found = f"{name} for engines in containers"
                raise refusal(found, f"engines = 'native' together with {name}", f"remove {name}")
        return self

    @model_validator(mode="after")
    def _gpus_are_set_up_where_there_are_some(self) -> HostSpec:
        for name in ("mig", "power_limit_watts", "gpu_clocks_mhz"):
            if getattr(self, name) and not self.gpus:
                raise refusal(f"{name} without gpus", f"gpus together with {name}")
        if self.mig and self.engines == "native":
            raise refusal("mig for engines without containers", "engines = 'containers'")
        if any(not profiles for profiles in self.mig.values()) or any(gpu < 0 for gpu in self.mig):
            raise refusal(
                f"mig={dict(self.mig)}",
                "a list of profiles for the number of each GPU that is divided",
                "leave a GPU out that stays whole",
            )
        if self.gpu_clocks_mhz and self.gpu_clocks_mhz[0] > self.gpu_clocks_mhz[1]:
            raise refusal(f"gpu_clocks_mhz={self.gpu_clocks_mhz}", "the lowest one first")
        return self

    def deployment_directory(self, deployment: str) -> PurePosixPath:
        """What belongs to one deployment alone on this host."""
        return deployment_directory(self.directory, deployment)

    @property
    def uses_cdi(self) -> bool:
        """Whether containers reach NVIDIA GPUs by the names of CDI devices."""
        if self.gpu_runtime is None:
            return self.driver is not None and self.driver.toolkit == "install"
        return self.gpu_runtime == "cdi"

    @property
    def is_mac(self) -> bool:
        """Whether it runs macOS."""
        return self.system == "macos"

    @property
    def every_program(self) -> dict[ProgramName, ProgramSpec]:
        """The programs that are declared, and those that need not be."""
        return {"haproxy": HOMEBREW_HAPROXY, **self.programs} if self.is_mac else self.programs

    @property
    def is_local(self) -> bool:
        """Whether this is the machine that Atelier runs on."""
        return self.name == LOCAL


def deployment_directory(directory: PurePosixPath, deployment: str) -> PurePosixPath:
    """What belongs to one deployment alone in the directory of a host."""
    return directory / "deployments" / deployment
