"""A deployment that answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gevent
from pyinfra import host, state
from pyinfra.api import operation
from pyinfra.api.output import format_text

from deploy.artefacts import Artefacts
from deploy.errors import AtelierError
from deploy.facts import look
from deploy.facts.units import Units
from deploy.operations.commands import Commands, refuse
from deploy.pyinfra_connection import client_of, has_sudo

if TYPE_CHECKING:
    from deploy.live.connection import Addresses
    from deploy.live.login import Login


PATIENCE_SECONDS = 5
"""How long a login that was begun is waited for; then the proof signs in itself."""
SIGNING_IN = "atelier_signing_in"
"""The login, in what pyinfra keeps of the host that asks."""


def sign_in_early(artefacts: Artefacts) -> None:
    """Begin the login to the web UI; it goes on while hosts are looked at."""
    host.connector_data[SIGNING_IN] = gevent.spawn(_sign_in, artefacts, _logins())


def _sign_in(artefacts: Artefacts, logins: dict[str, Login]) -> str:
    from deploy.live.early_login import early_token

    return early_token(artefacts, logins)


def sign_in_again() -> None:
    """A web UI changes: the proof is to sign in to the one that there is then.

    Other changes leave the login as good as it was. Open WebUI takes 15 logins in 3 minutes.
    """
    for each in state.inventory:
        each.connector_data.pop(SIGNING_IN, None)


@operation()
def answers(artefacts: Artefacts) -> Commands:
    """Every service answers for real; nothing is changed, and a dry run asks nothing."""
    problem = _ask(artefacts) if state.is_executing else ""
    if problem:
        yield from refuse(problem)


def _ask(artefacts: Artefacts) -> str:
    """Ask, printing each answer; return what is wrong, if anything."""
    from deploy.live.verify import verify

    failed = []
    try:
        for check in verify(artefacts, _logins(), _addresses(), _token(artefacts), host.log):
            mark = format_text("ok", fg="green") if check.ok else format_text("failed", fg="red")
            where = f" on {check.host}" if len(artefacts.spec.hosts) > 1 else ""
            host.log(f"{check.name}{where}: {mark} in {check.seconds:.2f} s, {check.detail}")
            if check.warning:
                host.log(
                    f"{check.name}{where}: {format_text('warning', fg='yellow')}: {check.warning}"
                )
            if not check.ok:
                failed.append(check.name)
    except AtelierError as error:
        return str(error)
    return f"deployed, but not working: {', '.join(failed)}" if failed else ""


def _token(artefacts: Artefacts) -> str:
    """Of the login that was begun; empty where a web UI has changed since."""
    begun = host.connector_data.get(SIGNING_IN)
    if begun is None or artefacts.plan.web_ui is None:
        return ""
    begun.join(PATIENCE_SECONDS)
    return begun.value or ""


def _logins() -> dict[str, Login]:
    """The connections over SSH that pyinfra has."""
    from deploy.live.login import Login

    return {
        each.name: Login(client, has_sudo(each))
        for each in state.inventory
        if (client := client_of(each))
    }


def _addresses() -> dict[str, Addresses]:
    """Of the containers of every host that has not changed since it was looked at."""
    return {
        each.name: {name: live.addresses for name, live in found.containers.items()}
        for each in state.inventory
        if (found := look.seen(each.name, Units))
    }
