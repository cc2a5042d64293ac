"""What a provider of logins and a directory say to the host of the web UI, once in a run."""

from __future__ import annotations

import json
from typing import Any
from weakref import WeakKeyDictionary

from pyinfra import host
from pyinfra.api.host import Host
from pyinfra.context import ctx_host

from deploy.certificates import public_authorities
from deploy.facts.logins import Logins
from deploy.hosts.login_checks import LoginAnswers
from deploy.hosts.subject import Subject
from deploy.operations.unshown import Unshown
from deploy.secrets import SecretStore
from deploy.spec import WebUISpec
from deploy.spec.ldap import LDAP_BIND_PASSWORD

_answers: WeakKeyDictionary[Host, LoginAnswers] = WeakKeyDictionary()
PROXIES = {"HTTPS_PROXY", "NO_PROXY"}
"""What leads the web UI to the provider, in capitals or not."""


def login_answers(subject: Subject, secrets: SecretStore) -> LoginAnswers:
    """What both answer the current host.

    Args:
        subject: the host as declared, with the web UI.
        secrets: the secrets of this machine.
    """
    current: Host = ctx_host.get()
    if subject.web_ui is None:
        return LoginAnswers()
    if current not in _answers:
        asked = json.dumps(question(subject.web_ui, subject, secrets))
        _answers[current] = host.get_fact(Logins, _stdin=Unshown([asked]))
    return _answers[current]


def question(web_ui: WebUISpec, subject: Subject, secrets: SecretStore) -> dict[str, Any]:
    """What the script is asked; the password is in it."""
    asked: dict[str, Any] = {}
    authorities = {kind: public_authorities() for kind in ("oidc", "ldap")}
    authorities |= subject.login_authorities
    if web_ui.oidc:
        asked["oidc"] = {
            "url": web_ui.oidc.discovery_url,
            "authorities": authorities["oidc"],
            "proxies": {
                name: value if isinstance(value, str) else secrets.value(value.name)
                for name, value in web_ui.env.items()
                if name.upper() in PROXIES
            },
        }
    if ldap := web_ui.ldap:
        asked["ldap"] = {
            "host": ldap.host,
            "port": ldap.port,
            "tls": ldap.has_tls,
            "base": ldap.search_base,
            "groups": ldap.allowed_groups,
            "name": ldap.bind_dn or "",
            "password": secrets.value(LDAP_BIND_PASSWORD) if ldap.bind_password else "",
            "authorities": authorities["ldap"],
        }
    return asked
