"""The machines a deployment runs on."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema, field_validator, model_validator

from deploy.spec.base import Spec, refusal

HOP = re.compile(r"([\w.-]+@)?[\w.-]+(:\d{1,5})?")
"""A jump host: ``user@name:port``, of which only the name is needed."""
HostKeys = Literal["known", "accept-new"]
WeightsSource = Literal["download", "copy"]
DockerSource = Literal["distribution", "upstream", "present"]
GpuNames = Annotated[
    tuple[str, ...],
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class HostSpec(Spec):
    """One machine: this one, or one reached over SSH."""

    name: str
    """``@local`` for this machine, else the name that pyinfra connects to."""
    address: str | None = None
    """Address or DNS name, where it differs from the name."""
    ssh_user: str | None = None
    """User to log in as; by default the one of the SSH configuration."""
    ssh_port: int | None = Field(default=None, ge=1, le=65535)
    """Port of the SSH server."""
    ssh_key: str | None = None
    """Path of the private key on this machine."""
    ssh_jump: str | None = None
    """Host to go through, e.g. ``me@bastion.lab:2222``; several with commas between them."""
    ssh_host_keys: HostKeys = "known"
    """``known``: the host's key must be in ``~/.ssh/known_hosts``; ``accept-new``: it is added."""
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
    gpu_runtime: Literal["nvidia", "cdi"] = "nvidia"
    """How containers reach NVIDIA GPUs: the container toolkit's runtime, or CDI device names."""
    gpu_groups: tuple[int, ...] = (44,)
    """AMD: numeric ids of the groups that own ``/dev/kfd`` and ``/dev/dri/render*``; by default
    ``video`` of Debian and Ubuntu."""
    weights: WeightsSource = "download"
    """How models of Hugging Face come to it: ``download`` by itself, or ``copy``: this machine
    fetches them and copies them there, for hosts with no way out."""
    directory: PurePosixPath = PurePosixPath("/var/lib/atelier")
    """Where configuration and model files are kept on the host."""

    @field_validator("name")
    @classmethod
    def _name_is_connectable(cls, name: str) -> str:
        if not name or any(character.isspace() for character in name):
            raise refusal(repr(name), "a host name, an address or '@local'")
        return name

    @field_validator("gpus", mode="before")
    @classmethod
    def _gpus_may_be_one_text(cls, gpus: Any) -> Any:
        return (gpus,) if isinstance(gpus, str) else gpus

    @field_validator("ssh_jump")
    @classmethod
    def _jump_is_hosts(cls, jump: str | None) -> str | None:
        if jump is not None and not all(HOP.fullmatch(hop) for hop in jump.split(",")):
            raise refusal(repr(jump), "user@name:port, of which only the name is needed")
        return jump

    @model_validator(mode="after")
    def _settings_are_of_a_docker_that_is_managed(self) -> HostSpec:
        if self.docker == "present" and self.docker_settings:
            raise refusal(
                "docker_settings for a Docker that is left alone",
                "docker = 'distribution' or 'upstream' together with docker_settings",
                "edit daemon.json on the host, or declare docker = 'distribution'",
            )
        return self

    @field_validator("directory")
    @classmethod
    def _directory_is_absolute(cls, directory: PurePosixPath) -> PurePosixPath:
        if not directory.is_absolute() or ".." in directory.parts or len(directory.parts) < 2:
            raise refusal(repr(str(directory)), "an absolute path below /, without '..'")
        return directory

    def deployment_directory(self, deployment: str) -> PurePosixPath:
        """What belongs to one deployment alone on this host."""
        return deployment_directory(self.directory, deployment)

    @property
    def is_local(self) -> bool:
        """Whether this is the machine that Atelier runs on."""
        return self.name == "@local"


def deployment_directory(directory: PurePosixPath, deployment: str) -> PurePosixPath:
    """What belongs to one deployment alone in the directory of a host."""
    return directory / "deployments" / deployment
