"""Another password of the web UI's administrator: told through the web UI's own API."""

from __future__ import annotations

import httpx

from deploy.artefacts import Artefacts
from deploy.errors import Problem, SecretError, ServiceError
from deploy.live.connection import connect
from deploy.live.http import Base, get, post
from deploy.live.verify import loopback
from deploy.live.web_ui import WrongPasswordError, sign_in
from deploy.secrets import SecretStore
from deploy.secrets.rotation import require_rotatable
from deploy.spec import SecretName

NAME = SecretName.WEB_UI_ADMIN_PASSWORD
UPDATE = "/api/v1/auths/update/password"


def rotate_admin_password(artefacts: Artefacts) -> None:
    """Give the web UI's administrator another password, and keep that.

    Both are kept until the web UI has the new one, so that one of them always logs in; after a
    run that was killed this goes on with the same new one.

    Raises:
        SecretError: if it cannot be rotated.
        ConnectionFailedError: if the host does not answer.
        ServiceError: if the web UI does not answer.
    """
    plan, secrets = artefacts.plan.web_ui, artefacts.secrets
    require_rotatable(secrets, NAME)
    if plan is None:
        raise SecretError(Problem(f"secrets.{NAME}", "this deployment has no web UI"))
    with connect(artefacts.host(plan.host)) as connection:
        url = connection.reach(loopback(str(plan.spec.listen)), plan.spec.port)
        _require_answer(url)
        if not secrets.before(NAME):
            secrets.begin(NAME)
        _tell(url, plan.spec.admin_email, secrets)


def _tell(url: Base, email: str, secrets: SecretStore) -> None:
    new, before = secrets.value(NAME), secrets.before(NAME)
    if not _token(url, email, new):
        token = _token(url, email, before)
        if not token:
            secrets.end(NAME, told=False)
            raise SecretError(
                Problem(
                    f"secrets.{NAME}",
                    f"does not log {email} in: it was changed in the web UI",
                    "the password that the web UI has",
                    f"put that into {secrets.path}",
                )
            )
        post(url, UPDATE, token, {"password": before, "new_password": new})
    secrets.end(NAME, told=True)


def _require_answer(url: Base) -> None:
    """Nothing is kept before the web UI answers.

    Raises:
        ServiceError: if it does not.
    """
    try:
        get(url, "/api/config", "")
    except httpx.HTTPError as error:
        found = f"does not answer: {type(error).__name__}"
        raise ServiceError(Problem("web UI", found, fix="deploy, then rotate again")) from None


def _token(url: Base, email: str, password: str) -> str:
    """A token; empty if the password is wrong.

    Raises:
        ServiceError: if it does not say, as when it was asked too often; both passwords stay kept.
    """
    try:
        return sign_in(url, email, password)
    except WrongPasswordError:
        return ""
