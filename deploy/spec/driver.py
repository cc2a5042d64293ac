"""The driver of a host's GPUs."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from deploy.spec.addresses import read_url
from deploy.spec.base import Spec, refusal

BRANCH = re.compile(r"[0-9]{3}")
VERSION = re.compile(r"\d{2,3}\.\d+(\.\d+)?")
FINGERPRINT = re.compile(r"[0-9A-F]{40}")
WINDOW = re.compile(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d")
FILES = re.compile(r"file://[^\s@?#]+")


class DriverSpec(Spec):
    """NVIDIA's driver and container toolkit, or AMD's driver, which Atelier installs."""

    branch: str | None = Field(default=None, json_schema_extra={"pattern": r"^\d{3}$"})
    """NVIDIA: branch of the driver, e.g. ``"580"``; by default one that serves every card and
    image. A driver that is there and serves is left alone unless branch, version or flavour is
    named."""
    version: str | None = None
    """Exact version, e.g. ``"580.173.02"``, where the source keeps older ones; of AMD's own driver,
    e.g. ``"31.40.1"``."""
    flavour: Literal["open", "proprietary"] | None = None
    """NVIDIA: kernel modules; by default open ones, unless a card is too old for them."""
    source: Literal["distribution", "vendor"] | None = None
    """The distribution's packages or the vendor's repository. NVIDIA: by default Ubuntu's own,
    which are signed, and NVIDIA's elsewhere. AMD: by default the kernel's own amdgpu where it is
    new enough for the card, and amdgpu-dkms elsewhere."""
    repository: str | None = None
    """Address of a mirror of NVIDIA's repository: the part before ``debian12/x86_64``; of AMD's:
    the part before ``31.40.1/ubuntu``, with the key ``rocm.gpg.key`` next to it."""
    key_fingerprint: str | None = None
    """Fingerprint of the key that signs the repository, if it is not the known one: for a mirror
    that has its own key, or after NVIDIA changed its key."""
    toolkit: Literal["install", "present"] = "install"
    """Whether the container toolkit is installed as well, or left alone."""
    toolkit_repository: str | None = None
    """Address of a mirror of the toolkit's repository: the part before ``stable/deb``."""
    toolkit_key_fingerprint: str | None = None
    """Fingerprint of the key that signs the toolkit's repository."""
    reboot: Literal["ask", "allowed", "never"] = "ask"
    """What happens where a driver needs a restart of the host: ``ask``: the run ends and says how
    to go on; ``allowed``: its units are stopped and the host is restarted, one host after the
    other; ``never``: the run goes on if its driver works until somebody restarts it, else it
    ends."""
    reboot_window: str | None = None
    """When it may be restarted, in the host's own time, e.g. ``"02:00-05:00"``."""
    reboot_timeout_seconds: int = Field(default=900, ge=60, le=7200)
    """How long a restarted host may take to answer."""

    @field_validator("branch")
    @classmethod
    def _branch_is_one(cls, branch: str | None) -> str | None:
        if branch is not None and not BRANCH.fullmatch(branch):
            raise refusal(repr(branch), "a branch such as '580'")
        return branch

    @field_validator("version")
    @classmethod
    def _version_is_one(cls, version: str | None) -> str | None:
        if version is not None and not VERSION.fullmatch(version):
            raise refusal(
                repr(version), "a version such as '580.173.02', or '31.40.1' of AMD's driver"
            )
        return version

    @field_validator("key_fingerprint", "toolkit_key_fingerprint")
    @classmethod
    def _fingerprint_is_whole(cls, fingerprint: str | None) -> str | None:
        if fingerprint is None:
            return None
        plain = fingerprint.replace(" ", "").replace(":", "").upper()
        if not FINGERPRINT.fullmatch(plain):
            raise refusal(
                repr(fingerprint), "40 hexadecimal digits, as gpg --show-keys prints them"
            )
        return plain

    @field_validator("repository", "toolkit_repository")
    @classmethod
    def _repository_is_a_url(cls, url: str | None) -> str | None:
        if url is None:
            return None
        if not (FILES.fullmatch(url) or read_url(url, "http", "https")):
            raise refusal(repr(url), "http://, https:// or file://, without user, '?' and '#'")
        return url.rstrip("/")

    @field_validator("reboot_window")
    @classmethod
    def _window_is_two_times(cls, window: str | None) -> str | None:
        if window is not None and not WINDOW.fullmatch(window):
            raise refusal(repr(window), "two times of the day, e.g. '02:00-05:00'")
        return window

    @model_validator(mode="after")
    def _settings_agree(self) -> DriverSpec:
        if self.version and self.branch and not self.version.startswith(f"{self.branch}."):
            raise refusal(
                f"version {self.version!r} is not of branch {self.branch!r}",
                "one of the two, or two that agree",
            )
        if self.reboot_window and self.reboot != "allowed":
            raise refusal(
                f"a window for restarts, and reboot={self.reboot!r}",
                "reboot_window together with reboot='allowed'",
            )
        return self

    @property
    def wanted_branch(self) -> str | None:
        """The branch that is asked for, in whichever way."""
        return self.version.partition(".")[0] if self.version else self.branch
