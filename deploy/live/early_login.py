"""The proof's login to the web UI, before the rest of the proof.

A web UI takes 0.2 s to check a password, as bcrypt is made to: nothing else in a proof takes as
long. So a run signs in while its hosts are looked at.
"""

from __future__ import annotations

from collections.abc import Mapping

from deploy.artefacts import Artefacts
from deploy.errors import AtelierError
from deploy.hosts.ssh import CONNECTION_ERRORS
from deploy.live.connection import connect
from deploy.live.entry import entry_base
from deploy.live.http import Base
from deploy.live.login import Login
from deploy.live.verify import loopback
from deploy.live.web_ui import sign_in
from deploy.spec import SecretName


def early_token(artefacts: Artefacts, logins: Mapping[str, Login]) -> str:
    """A token for the web UI's API, the way that people take.

    Args:
        artefacts: the deployment.
        logins: connections to its hosts that are open already, by name of the host.

    Returns:
        An empty text if there is none so far: the proof signs in then, and says what is wrong.
    """
    web_ui, entry = artefacts.plan.web_ui, artefacts.plan.entry
    if web_ui is None or (entry and entry.spec.acme):
        return ""
    host = artefacts.host(entry.host if entry else web_ui.host)
    if not host.is_local and host.name not in logins:
        return ""
    try:
        password = artefacts.secrets.value(SecretName.WEB_UI_ADMIN_PASSWORD)
        with connect(host, logins.get(host.name), addresses={}) as connection:
            base: Base
            if entry:
                base = entry_base(artefacts, entry, connection)
            else:
                base = connection.reach(loopback(str(web_ui.spec.listen)), web_ui.spec.port)
            return sign_in(base, web_ui.spec.admin_email, password)
    except (AtelierError, *CONNECTION_ERRORS):
        return ""
