"""Registries as hosts use them: a login for Docker's client, a certificate for its daemon."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from deploy.errors import InventoryFileError, Problem
from deploy.images.reference import DOCKER_HUB
from deploy.services.runs import canonical_json
from deploy.spec import DeploymentSpec, RegistrySpec

DOCKER_HUB_LOGIN = "https://index.docker.io/v1/"
"""Where Docker's client looks for a login for its own registry."""
CERTIFICATES = PurePosixPath("/etc/docker/certs.d")
PEM = "-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True)
class RegistryAccess:
    """What a host needs to pull from one registry."""

    address: str
    login: str = field(default="", repr=False)
    """A config.json of Docker's client; a secret. Empty without a login."""
    ca: str = ""
    """Certificates of its authority."""

    @property
    def ca_path(self) -> PurePosixPath:
        """Where Docker's daemon looks for them: it reads them whenever it pulls."""
        return CERTIFICATES / self.address / "ca.crt"


def make_registries(
    spec: DeploymentSpec, passwords: Mapping[str, str], directory: Path
) -> dict[str, RegistryAccess]:
    """Every declared registry by its address.

    Args:
        spec: the deployment.
        passwords: passwords by address.
        directory: what relative paths are relative to.

    Raises:
        InventoryFileError: if a file of certificates cannot be read.
    """
    return {
        registry.address: RegistryAccess(
            registry.address,
            _login(registry, passwords),
            _read_ca(registry, directory, f"registries[{index}].ca"),
        )
        for index, registry in enumerate(spec.registries)
    }


def _login(registry: RegistrySpec, passwords: Mapping[str, str]) -> str:
    if registry.username is None:
        return ""
    both = f"{registry.username}:{passwords[registry.address]}"
    key = DOCKER_HUB_LOGIN if registry.address == DOCKER_HUB else registry.address
    return canonical_json({"auths": {key: {"auth": base64.b64encode(both.encode()).decode()}}})


def _read_ca(registry: RegistrySpec, directory: Path, setting: str) -> str:
    if registry.ca is None:
        return ""
    path = directory / registry.ca
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        text = ""
    if PEM in text:
        return text.rstrip("\n") + "\n"
    raise InventoryFileError(
        Problem(setting, f"no certificate in {path}", f"a PEM file with {PEM}", "give its path")
    )
