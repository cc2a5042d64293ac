"""Logins of the site over OpenID Connect, as Keycloak, Authentik and Entra ID have them.

https://openid.net/specs/openid-connect-core-1_0.html
"""

from __future__ import annotations

import re

from pydantic import field_validator, model_validator

from deploy.spec.addresses import read_url
from deploy.spec.base import LocalPath, Spec, refusal
from deploy.spec.secrets import SecretSource

OIDC_CLIENT_SECRET = "web_ui.oidc.client_secret"  # noqa: S105 - what it is called
WORD = re.compile(r"[^\s;]+")
SEPARATOR = "|"
"""Between names of groups and roles where Open WebUI has them in one variable; commas are in the
names that directories give to groups."""


class OidcSpec(Spec):
    """The provider that people log in to the web UI at."""

    issuer: str
    """The provider's address, below which ``/.well-known/openid-configuration`` is, e.g.
    ``https://id.lab.example/realms/lab``."""
    client_id: str
    """What the provider calls the web UI."""
    client_secret: SecretSource
    """The secret that the provider has given the web UI."""
    label: str = "single sign-on"
    """What the button says that people continue with."""
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    """What the web UI asks the provider for; some have groups in a scope of their own."""
    email_claim: str = "email"
    """The claim with a person's e-mail address, which the router knows them by."""
    name_claim: str = "name"
    """The claim with their name."""
    groups_claim: str = "groups"
    """The claim with a list of their groups."""
    roles_claim: str = "roles"
    """The claim with a list of their roles; with dots where it is in another one, e.g.
    ``realm_access.roles``."""
    allowed_groups: tuple[str, ...] = ()
    """Groups whose people may log in, written as the claim has them; everybody by default."""
    admin_groups: tuple[str, ...] = ()
    """Groups whose people administer the web UI; none by default."""
    allowed_roles: tuple[str, ...] = ()
    """Roles whose people may log in, instead of ``allowed_groups``."""
    admin_roles: tuple[str, ...] = ()
    """Roles whose people administer the web UI, instead of ``admin_groups``."""
    merge_accounts_by_email: bool = False
    """Whether whoever has the address of an account at the provider gets that account; only of a
    provider where people cannot choose an address that is not theirs."""
    ca_file: LocalPath | None = None
    """PEM file of this machine with the authorities that prove the provider, and all that the web
    UI trusts then; relative to the inventory. By default those that systems know."""

    @field_validator("issuer")
    @classmethod
    def _issuer_is_a_url(cls, issuer: str) -> str:
        if not read_url(issuer, "https"):
            raise refusal(
                repr(issuer),
                "https:// and the provider's address, e.g. 'https://id.lab.example/realms/lab'",
            )
        if "/.well-known/" in issuer:
            raise refusal(
                repr(issuer),
                "the issuer alone",
                f"declare issuer={issuer.partition('/.well-known/')[0]!r}",
            )
        return issuer

    @field_validator("client_id")
    @classmethod
    def _client_id_is_one_word(cls, client_id: str) -> str:
        if not WORD.fullmatch(client_id):
            raise refusal(repr(client_id), "one word, as the provider shows it")
        return client_id

    @field_validator("scopes")
    @classmethod
    def _scopes_are_of_openid(cls, scopes: tuple[str, ...]) -> tuple[str, ...]:
        if "openid" not in scopes or not all(WORD.fullmatch(scope) for scope in scopes):
            raise refusal(
                repr(" ".join(scopes)), "a list of words, 'openid' among them, e.g. ['openid']"
            )
        return scopes

    @field_validator("allowed_groups", "admin_groups", "allowed_roles", "admin_roles")
    @classmethod
    def _names_are_plain(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not name.strip() or name != name.strip() or SEPARATOR in name or name == "*":
                raise refusal(
                    repr(name), f"a name without {SEPARATOR!r} and spaces around it, and no '*'"
                )
        return names

    @model_validator(mode="after")
    def _either_groups_or_roles(self) -> OidcSpec:
        by_group = [name for name in ("allowed_groups", "admin_groups") if getattr(self, name)]
        by_role = [name for name in ("allowed_roles", "admin_roles") if getattr(self, name)]
        if by_group and by_role:
            raise refusal(
                f"{by_group[0]} and {by_role[0]}",
                "groups or roles: the web UI looks at one claim",
                f"declare both by group or both by role, instead of {by_role[0]} for example",
            )
        return self

    @property
    def discovery_url(self) -> str:
        """Where the provider describes itself."""
        return f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"

    @property
    def is_restricted(self) -> bool:
        """Whether not everybody whom the provider knows may log in."""
        return bool(self.allowed_groups or self.allowed_roles)

    @property
    def is_by_role(self) -> bool:
        """Whether roles say who may log in and who administers; otherwise groups do."""
        return bool(self.allowed_roles or self.admin_roles)
