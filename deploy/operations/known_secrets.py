"""What the check of a host found of its secrets, for the operations after it."""

from __future__ import annotations

from pyinfra import host

from deploy.errors import Problem
from deploy.secrets import SecretStore
from deploy.secrets.fingerprint import SETTING, KnownSecrets, are_new_wanted, find_disagreement
from deploy.secrets.kept import unwritable

KNOWN = "atelier_known_secrets"


def remember(known: KnownSecrets) -> None:
    """Keep it, so that the host is not asked again."""
    host.connector_data[KNOWN] = known


def recall() -> KnownSecrets:
    """What was found."""
    known: KnownSecrets = host.connector_data.get(KNOWN, KnownSecrets())
    return known


def disagreements(deployment: str, secrets: SecretStore) -> list[Problem]:
    """Why this machine's secrets are not the host's, unless the operator wants it so.

    Also why those that this run made up cannot be kept.
    """
    if (secrets.generated or secrets.issued) and (unkept := unwritable(secrets.path)):
        return [unkept]
    problem = find_disagreement(recall(), secrets, host.name, deployment)
    if problem is None or are_new_wanted(host.data.get(SETTING)):
        return []
    return [problem]
