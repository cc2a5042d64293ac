"""What another value of each secret brings with it, and which secrets never get one."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.errors import Problem, SecretError
from deploy.secrets.store import SecretStore
from deploy.spec import SecretName

DEPLOY = "pyinfra INVENTORY deploy.py"


@dataclass(frozen=True)
class Rotation:
    """What happens when a secret gets another value and the deployment runs."""

    effect: str
    """What changes, and what people notice."""
    refusal: str = ""
    """Why it is not rotated; empty if it is."""
    instead: str = ""
    """What to do where it is refused."""
    declared: str = f"change it there, then: {DEPLOY}"
    """What to do where it is declared."""


ROTATIONS: dict[SecretName, Rotation] = {
    SecretName.ROUTER_MASTER_KEY: Rotation(
        "routers are replaced, then the web UI; the old key is refused at once, and chats in the"
        " web UI fail until it has the new one"
    ),
    SecretName.ENGINE_API_KEY: Rotation(
        "routers try both keys while the engines are replaced one after the other, so that no"
        " request fails; then the old one is refused. With Aristote requests fail until its"
        " consumers have the new one, too"
    ),
    SecretName.WEB_UI_SECRET_KEY: Rotation(
        "the web UI is replaced, and everybody has to log in again"
    ),
    SecretName.WEB_UI_ADMIN_PASSWORD: Rotation(
        "it is sent to the web UI at once, which must run; the next deployment replaces the web"
        " UI's container",
        declared="change it there and in the web UI, which reads it only at its first start",
    ),
    SecretName.ROUTER_SALT_KEY: Rotation(
        "never: what the router has encrypted in its database would be lost",
        refusal="what the router has encrypted in its database is lost with another",
        instead="rotate what was encrypted: keys of people, with atelier users rotate",
    ),
    SecretName.ROUTER_DATABASE_PASSWORD: Rotation(
        "PostgreSQL sets the new password when it starts again, then the routers are replaced;"
        " until then keys that a router has not seen within the last minute are not looked up,"
        " and Aristote answers no requests"
    ),
    SecretName.WEB_UI_DATABASE_PASSWORD: Rotation(
        "PostgreSQL sets the new password when it starts again, then the web UI is replaced,"
        " which does not answer until then"
    ),
    SecretName.VALKEY_PASSWORD: Rotation(
        "Valkey is replaced, then the routers; until then each router counts limits on its own"
    ),
    SecretName.RABBITMQ_PASSWORD: Rotation(
        "RabbitMQ is replaced, then Aristote's consumers and its sender; requests are refused until"
        " all of them have it"
    ),
    SecretName.DIGEST_KEY: Rotation(
        "never: no one logs in with it, and every host and container is compared with it",
        refusal="it opens nothing, and with another every container would be replaced",
        instead="leave it as it is",
    ),
    SecretName.HUGGINGFACE_TOKEN: Rotation(
        "the next weights are fetched with it; nothing is replaced"
    ),
}


def rotate(secrets: SecretStore, name: SecretName) -> None:
    """Give a secret another value in the file of secrets; the next deployment brings it about.

    Args:
        secrets: the secrets of the deployment.
        name: which one.

    Raises:
        SecretError: if it cannot be rotated, or not here.
    """
    require_rotatable(secrets, name)
    secrets.renew(name)


def require_rotatable(secrets: SecretStore, name: SecretName) -> None:
    """Refuse another value of a secret that must stay, is declared, or is not there.

    Raises:
        SecretError: if it cannot be rotated, or not here.
    """
    secrets.require_kept()
    setting, rotation = f"secrets.{name}", ROTATIONS[name]
    if rotation.refusal:
        raise SecretError(Problem(setting, rotation.refusal, fix=rotation.instead))
    if secrets.is_declared(name):
        found = "declared in the inventory: its value is kept somewhere else"
        raise SecretError(Problem(setting, found, "a secret that was generated", rotation.declared))
    if name not in secrets.names:
        known = ", ".join(secrets.names)
        raise SecretError(Problem(setting, "this deployment has none", known))
