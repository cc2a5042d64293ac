"""Whether people will be able to log in: what the provider and the directory say beforehand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deploy.hosts.finding import Finding
from deploy.spec import LdapSpec, OidcSpec, WebUISpec

WRONG_PASSWORD, NO_SUCH_ENTRY = 49, 32
"""Results of LDAP (https://www.rfc-editor.org/rfc/rfc4511#appendix-A)."""
LEEWAY_SECONDS = 120
"""By how much clocks may differ until Open WebUI refuses what a provider signed: Authlib's."""
LONGEST_WORDS = 200


@dataclass(frozen=True)
class LoginAnswers:
    """What was answered; ``None`` where no one was asked."""

    oidc: Mapping[str, str] | None = None
    ldap: Mapping[str, Any] | None = None


def login_findings(web_ui: WebUISpec, answers: LoginAnswers) -> Iterator[Finding]:
    """What is to be said of the provider and the directory.

    Args:
        web_ui: the web UI as declared.
        answers: of both to the host that it runs on.
    """
    for setting, spec, answer in (
        ("web_ui.oidc.issuer", web_ui.oidc, answers.oidc),
        ("web_ui.ldap.url", web_ui.ldap, answers.ldap),
    ):
        if spec is None:
            continue
        if answer is None:
            found = "not asked: there is no python3 on the host to ask with, 3.7 or newer"
            yield Finding(setting, "warning", found, fix="install python3 there")
        elif isinstance(spec, OidcSpec):
            yield _provider(spec, answer)
        else:
            yield _directory(spec, answer)


def clock_finding(skew: float) -> Finding:
    """Clocks that differ by more than what a provider signs is valid for.

    Args:
        skew: by how many seconds the host's is ahead of this machine's.
    """
    return Finding(
        "clock",
        "problem",
        f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine's",
        f"at most {LEEWAY_SECONDS} s on the web UI's host: else no login at the provider is valid",
        "run a time service there, e.g. chrony, and see that this machine's clock is right",
    )


def _provider(oidc: OidcSpec, answer: Mapping[str, str]) -> Finding:
    name, failure = "web_ui.oidc.issuer", answer.get("failure")
    if failure:
        return Finding(
            name,
            "problem",
            f"{oidc.discovery_url} does not answer the host: {failure[:LONGEST_WORDS]}",
            "a provider that describes itself there",
            _fix(failure, "issuer", oidc.ca_file is not None, "oidc"),
        )
    if answer["issuer"].rstrip("/") != oidc.issuer.rstrip("/"):
        return Finding(
            name,
            "problem",
            f"the provider at {oidc.issuer} calls itself {answer['issuer'] or 'nothing'!r}",
            "the issuer's own address",
            f"declare issuer={answer['issuer']!r}, if that is your provider"
            if answer["issuer"]
            else "give the address below which its .well-known/openid-configuration is",
        )
    missing = [each for each in ("authorization_endpoint", "token_endpoint") if not answer[each]]
    if missing:
        found = f"the provider says no {' and no '.join(missing)}"
        return Finding(name, "problem", found, "a provider of OpenID Connect")
    ends = "" if answer["end_session_endpoint"] else "; who logs out stays logged in there"
    return Finding(name, "ok", f"{oidc.issuer} answers{ends}")


def _directory(ldap: LdapSpec, answer: Mapping[str, Any]) -> Finding:
    name, failure = "web_ui.ldap.url", answer.get("failure")
    if failure:
        return Finding(
            name,
            "problem",
            f"{ldap.url} does not answer the host: {str(failure)[:LONGEST_WORDS]}",
            "a directory that answers",
            _fix(str(failure), "url", ldap.ca_file is not None, "ldap"),
        )
    code, words = int(answer["bind"]), str(answer.get("words") or "")[:LONGEST_WORDS]
    said = f" ({words})" if words else ""
    who = ldap.bind_dn or "an anonymous bind"
    if code:
        is_password = code == WRONG_PASSWORD
        return Finding(
            "web_ui.ldap.bind_dn",
            "problem",
            f"{ldap.url} refuses {who}: "
            + ("wrong name or password" if is_password else f"result {code}")
            + said,
            "an account that may look people up" if ldap.bind_dn else "bind_dn and bind_password",
            "correct bind_dn or bind_password"
            if ldap.bind_dn
            else "declare an account that may look people up",
        )
    if int(answer["base"]) == NO_SUCH_ENTRY:
        return Finding(
            "web_ui.ldap.search_base",
            "problem",
            f"{ldap.search_base} is not in {ldap.url}, or {who} may not see it" + said,
            "an entry below which people are",
            "correct search_base, or let the account see it",
        )
    return Finding(name, "ok", f"{ldap.url} answers, and has {ldap.search_base}")


def _fix(failure: str, setting: str, has_authorities: bool, kind: str) -> str:
    """What to do next: another cause for certificates than for addresses."""
    if "CERTIFICATE_VERIFY_FAILED" in failure or "certificate" in failure.lower():
        return (
            f"correct ca_file of {kind}, or the name in {setting}"
            if has_authorities
            else f"declare ca_file of {kind} with what proves it, or correct {setting}"
        )
    return f"correct {setting}, or let the host reach it"
