"""Which secrets a host was deployed with: told by a keyed fingerprint, from which none follows.

A clone of a repository without its file of secrets would make up new ones and replace every
container; so would a second machine with a file of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from deploy.errors import Problem
from deploy.secrets import SecretStore
from deploy.spec import SecretName, SecretText

FILE = "secrets.fingerprint"
"""Its name in the deployment's directory on a host."""
SETTING = "new_secrets"
"""What ``pyinfra --data`` calls it when an operator insists on other secrets."""
VARIABLE = "ATELIER_NEW_SECRETS"
PERMANENT = {
    SecretName.ROUTER_SALT_KEY: "what the router has encrypted in its database is lost with another"
}
"""Secrets that never change, and why."""
YES = {"1", "yes", "true", "on"}


@dataclass(frozen=True)
class KnownSecrets:
    """What a host knows of the secrets that it was deployed with."""

    text: str = ""
    """Its fingerprint file; empty if there is none."""
    digests: frozenset[str] = frozenset()
    """Where there is none: the digests of secrets in the labels of the deployment's containers."""

    def __bool__(self) -> bool:
        """Whether anything was deployed there."""
        return bool(self.text or self.digests)


def make_fingerprint(secrets: SecretStore) -> str:
    """What the file on a host says: the fingerprint, and the names of the secrets in use."""
    names = sorted(str(name) for name in secrets.names)
    known: dict[str, Any] = {"fingerprint": secrets.fingerprint, "secrets": names}
    permanent = {
        str(name): secrets.digest(SecretText.of(name)) for name in PERMANENT if name in names
    }
    if permanent:
        known["permanent"] = permanent
    if secrets.certificates:
        known["authority"] = _authority(secrets)
    return json.dumps(known)


def secrets_in_labels(labels: Iterable[str]) -> frozenset[str]:
    """The digests of secrets in the descriptions that containers carry as labels."""
    found: set[str] = set()
    for label in labels:
        spec = _mapping(label)
        environment = spec.get("secret_env")
        if isinstance(environment, dict):
            found.update(str(digest) for digest in environment.values())
    return frozenset(found)


def find_disagreement(
    known: KnownSecrets, secrets: SecretStore, host: str, deployment: str
) -> Problem | None:
    """Why the secrets of this machine are not those of the host, if they are not.

    Args:
        known: what the host knows.
        secrets: the secrets of this machine.
        host: name of the host.
        deployment: name of the deployment.
    """
    made_up: list[str] = sorted(_in_use(known, secrets) & set(secrets.generated))
    if _mapping(known.text).get("authority", _authority(secrets)) != _authority(secrets):
        made_up.append("the certificate authority of the entry")
    if made_up:
        there = "lacks" if secrets.path.exists() else "does not exist, so that this machine lacks"
        found = f"{secrets.path} {there} {', '.join(made_up)}"
    elif not _has_the_same_key(known, secrets):
        found = f"{secrets.path} holds other secrets than those"
    else:
        return _changed_for_ever(known, secrets, host)
    return Problem(
        "secrets",
        f"deployment {deployment!r} runs on {host} with secrets that this machine does not have: "
        f"{found}",
        "the secrets of the last deployment: new ones replace every container and lock clients out",
        f"copy {secrets.path.name} into {secrets.path.parent} from the machine that deployed last, "
        f"or from a backup; or insist on other secrets: pyinfra INVENTORY deploy.py "
        f"--data {SETTING}=yes, or {VARIABLE}=1",
    )


def _changed_for_ever(known: KnownSecrets, secrets: SecretStore, host: str) -> Problem | None:
    """A secret that must stay as it is, and has changed."""
    permanent = _mapping(known.text).get("permanent", {})
    for name, why in PERMANENT.items():
        before = permanent.get(str(name)) if isinstance(permanent, dict) else None
        if before and name in secrets.names and before != secrets.digest(SecretText.of(name)):
            return Problem(
                f"secrets.{name}",
                f"another value than that of the last deployment to {host}",
                f"always the same value: {why}",
                f"put the value of the last deployment back into {secrets.path}, or where it is"
                f" declared; or insist on another: --data {SETTING}=yes, or {VARIABLE}=1",
            )
    return None


def are_new_wanted(data: Any) -> bool:
    """Whether the operator insists on other secrets than those of the host.

    Args:
        data: what ``--data new_secrets`` says, as pyinfra reads it.
    """
    said = (str(data), os.environ.get(VARIABLE, ""))
    return any(text.lower() in YES for text in said)


def _authority(secrets: SecretStore) -> str:
    """By this a host recognises the authority that clients were given; empty without one."""
    own = secrets.certificates
    return hashlib.sha256(own.authority.certificate.encode()).hexdigest() if own else ""


def _in_use(known: KnownSecrets, secrets: SecretStore) -> set[SecretName]:
    """Secrets that the host was deployed with."""
    if known.text:
        names = _mapping(known.text).get("secrets", [])
        return {name for name in SecretName if str(name) in names}
    own = {secrets.digest(SecretText.of(name)) for name in secrets.names}
    return set(SecretName) if known.digests - own else set()


def _has_the_same_key(known: KnownSecrets, secrets: SecretStore) -> bool:
    if known.text:
        return _mapping(known.text).get("fingerprint") == secrets.fingerprint
    own = {secrets.digest(SecretText.of(name)) for name in secrets.names}
    return not known.digests or bool(known.digests & own)


def _mapping(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}
