"""What is said of a provider and a directory before anybody logs in."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from deploy import Ldap, Oidc, Secret, WebUI
from deploy.artefacts import Artefacts
from deploy.hosts.checks import host_findings
from deploy.hosts.finding import Finding
from deploy.hosts.login_checks import LoginAnswers, login_findings
from deploy.hosts.subject import Subject
from tests.hosts.test_checks import GOOD

READER = "cn=reader,dc=lab"
OIDC = Oidc(issuer="https://id.lab/realm", client_id="chat", client_secret=Secret(env="OIDC"))
LDAP = Ldap(
    url="ldaps://ldap.lab",
    search_base="ou=people,dc=lab",
    bind_dn=READER,
    bind_password=Secret(env="LDAP"),
)
ANSWER = {
    "issuer": "https://id.lab/realm/",
    "authorization_endpoint": "https://id.lab/authorize",
    "token_endpoint": "https://id.lab/token",
    "end_session_endpoint": "https://id.lab/end",
}
DISTRUSTED = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get issuer"


def said(web_ui: Any, **answers: Any) -> Finding:
    [finding] = login_findings(web_ui, LoginAnswers(**answers))
    return finding


@pytest.mark.parametrize(
    ("answer", "status", "found", "fix"),
    [
        ({}, "ok", "https://id.lab/realm answers", ""),
        (
            {"end_session_endpoint": ""},
            "ok",
            "https://id.lab/realm answers; people who log out stay logged in there",
            "",
        ),
        (
            {"issuer": "https://id.lab/other"},
            "problem",
            "the provider at https://id.lab/realm calls itself 'https://id.lab/other'",
            "declare issuer='https://id.lab/other', if that is your provider",
        ),
        (
            {"issuer": ""},
            "problem",
            "calls itself 'nothing'",
            "give the address that its .well-known",
        ),
        ({"token_endpoint": ""}, "problem", "the provider says no token_endpoint", ""),
        (
            {"failure": "HTTP 404"},
            "problem",
            "does not answer the host: HTTP 404",
            "correct issuer",
        ),
        (
            {"failure": DISTRUSTED},
            "problem",
            "CERTIFICATE_VERIFY_FAILED",
            "declare ca_file of oidc",
        ),
    ],
)
def test_a_provider(answer: dict[str, str], status: str, found: str, fix: str) -> None:
    finding = said(WebUI(oidc=OIDC), oidc=ANSWER | answer)
    assert (finding.name, finding.status) == ("web_ui.oidc.issuer", status)
    assert found in finding.found
    assert finding.fix.startswith(fix)


@pytest.mark.parametrize(
    ("answer", "name", "status", "found"),
    [
        ({"bind": 0, "base": 0, "words": ""}, "url", "ok", "answers, and has ou=people,dc=lab"),
        (
            {"bind": 49, "words": "data 52e"},
            "bind_dn",
            "problem",
            f"ldaps://ldap.lab refuses {READER}: wrong name or password (data 52e)",
        ),
        ({"bind": 53, "words": ""}, "bind_dn", "problem", f"refuses {READER}: result 53"),
        (
            {"bind": 0, "base": 32, "words": ""},
            "search_base",
            "problem",
            f"ou=people,dc=lab is not in ldaps://ldap.lab, or {READER} may not see it",
        ),
        (
            {"bind": 0, "base": 50, "words": "no read access"},
            "search_base",
            "problem",
            f"does not let {READER} look at ou=people,dc=lab: result 50 (no read access)",
        ),
        ({"failure": "Connection refused"}, "url", "problem", "host: Connection refused"),
    ],
)
def test_a_directory(answer: dict[str, Any], name: str, status: str, found: str) -> None:
    finding = said(WebUI(ldap=LDAP), ldap=answer)
    assert (finding.name, finding.status) == (f"web_ui.ldap.{name}", status)
    assert found in finding.found


def test_a_directory_that_nobody_may_ask() -> None:
    anybody = LDAP.model_copy(update={"bind_dn": None, "bind_password": None})
    finding = said(WebUI(ldap=anybody), ldap={"bind": 48, "words": ""})
    assert "refuses an anonymous bind: result 48" in finding.found
    assert finding.fix == "declare an account that may look people up"


def test_a_group_that_is_not_there_is_told() -> None:
    answer = {"bind": 0, "base": 0, "words": "", "missing": ["cn=ai-user,dc=lab"]}
    fine, missing = login_findings(WebUI(ldap=LDAP), LoginAnswers(ldap=answer))
    assert fine.status == "ok"
    assert (missing.name, missing.status) == ("web_ui.ldap.allowed_groups", "warning")
    assert f"cn=ai-user,dc=lab is not in ldaps://ldap.lab, or {READER} may not" in missing.found


def test_a_directory_that_binds_anybody_and_shows_them_nothing() -> None:
    """As Active Directory does."""
    anybody = LDAP.model_copy(update={"bind_dn": None, "bind_password": None})
    words = "000004DC: LdapErr: DSID-0C090A5C, comment: a successful bind must be completed"
    finding = said(WebUI(ldap=anybody), ldap={"bind": 0, "base": 1, "words": words})
    assert (finding.name, finding.status) == ("web_ui.ldap.search_base", "problem")
    assert "does not let an anonymous bind look at ou=people,dc=lab: result 1" in finding.found
    assert finding.fix == "correct search_base, or declare bind_dn and bind_password"


def test_a_host_without_python() -> None:
    finding = said(WebUI(oidc=OIDC))
    assert (finding.status, finding.fix) == ("warning", "install python3 there")


@pytest.mark.parametrize(
    ("web_ui", "skew", "status"),
    [
        (WebUI(oidc=OIDC), 100, "warning"),
        (WebUI(oidc=OIDC), -200, "problem"),
        (WebUI(ldap=LDAP), -200, "warning"),
        (None, 200, "warning"),
    ],
)
def test_a_clock_that_breaks_logins(demo: Artefacts, web_ui: Any, skew: float, status: str) -> None:
    subject = Subject(demo.host("@local"), demo.stack.on("@local"), web_ui=web_ui)
    now = time.time()
    found = host_findings(subject, replace(GOOD, clock_seconds=now + skew), None, now)
    [clock] = [finding for finding in found if finding.name == "clock"]
    assert clock.status == status
    if status == "problem":
        assert clock.found == "200 s behind this machine's"
