"""What a host is asked about logins, and where the password is meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.operations.logins import question
from deploy.operations.questions import subject_of
from deploy.operations.unshown import Unshown
from tests.conftest import MakeArtefacts

OIDC = {"issuer": "https://id.lab/realm", "client_id": "chat", "client_secret": {"env": "OIDC"}}
LDAP = {
    "url": "ldaps://ldap.lab",
    "search_base": "dc=lab",
    "bind_dn": "cn=reader",
    "bind_password": {"env": "LDAP"},
    "allowed_groups": ["cn=ai,dc=lab"],
}


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OIDC", "client-secret-0123")
    monkeypatch.setenv("LDAP", "bind-password-0123")
    monkeypatch.setenv("PROXY", "http://me:secret@proxy.lab")


@pytest.mark.parametrize(
    ("env", "proxies"),
    [
        ({}, {}),
        ({"https_proxy": "http://proxy.lab", "A": "b"}, {"https_proxy": "http://proxy.lab"}),
        (
            {"HTTPS_PROXY": {"env": "PROXY"}, "NO_PROXY": "id.lab"},
            {"HTTPS_PROXY": "http://me:secret@proxy.lab", "NO_PROXY": "id.lab"},
        ),
    ],
)
def test_what_is_asked(make: MakeArtefacts, env: dict[str, Any], proxies: dict[str, str]) -> None:
    made = make(entry={}, web_ui={"oidc": OIDC, "ldap": LDAP, "env": env})
    subject = subject_of(made, "@local")
    assert subject.web_ui
    asked = question(subject.web_ui, subject, made.secrets)
    # what the web UI believes, not what was added to the host
    for answer in asked.values():
        authorities = answer.pop("authorities")
        assert authorities.count("-----BEGIN CERTIFICATE-----") > 50
    assert asked == {
        "oidc": {
            "url": "https://id.lab/realm/.well-known/openid-configuration",
            "proxies": proxies,
        },
        "ldap": {
            "host": "ldap.lab",
            "port": 636,
            "tls": True,
            "base": "dc=lab",
            "groups": ("cn=ai,dc=lab",),
            "name": "cn=reader",
            "password": "bind-password-0123",
        },
    }
    assert "0123" not in repr(Unshown([str(asked)]))


def test_the_provider_need_not_know_the_clients_secret_for_that(make: MakeArtefacts) -> None:
    made = make(entry={}, web_ui={"oidc": OIDC})
    subject = subject_of(made, "@local")
    assert subject.web_ui
    assert "client-secret" not in str(question(subject.web_ui, subject, made.secrets))


def test_only_the_host_of_the_web_ui_is_asked(make: MakeArtefacts) -> None:
    hosts = [{"name": "10.0.0.1"}, {"name": "10.0.0.2"}]
    web_ui = {"host": "10.0.0.2", "oidc": OIDC, "listen": "10.0.0.2"}
    made = make(hosts=hosts, entry={}, router={"listen": "10.0.0.1"}, web_ui=web_ui)
    assert subject_of(made, "10.0.0.1").web_ui is None
    assert subject_of(made, "10.0.0.2").web_ui is not None
    assert subject_of(make(), "@local").web_ui is None
