"""Logins of the site in a directory: LDAP, Active Directory among them."""

from __future__ import annotations

import re

from pydantic import field_validator, model_validator

from deploy.spec.addresses import read_url, without_brackets
from deploy.spec.base import LocalPath, Spec, refusal
from deploy.spec.secrets import SecretSource

LDAP_BIND_PASSWORD = "web_ui.ldap.bind_password"  # noqa: S105 - what it is called
NAME = re.compile(r"\s*[A-Za-z0-9.-]+\s*=.+")
"""How a distinguished name begins (https://www.rfc-editor.org/rfc/rfc4514)."""
ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
PORTS = {"ldap": 389, "ldaps": 636}
ESCAPED = str.maketrans({"\\": r"\5c", "*": r"\2a", "(": r"\28", ")": r"\29", "\0": r"\00"})
"""What stands for something else in a filter (https://www.rfc-editor.org/rfc/rfc4515)."""


class LdapSpec(Spec):
    """The directory that people log in to the web UI with."""

    url: str
    """Where the directory is, e.g. ``ldaps://ldap.lab.example``; at port 636 unless it has one."""
    search_base: str
    """The entry that people are below, e.g. ``ou=people,dc=lab,dc=example``."""
    bind_dn: str | None = None
    """The account that looks people up, e.g. ``cn=reader,dc=lab,dc=example``; not needed where
    anybody may do that."""
    bind_password: SecretSource | None = None
    """The password of that account."""
    username_attribute: str = "uid"
    """The attribute with what people type as their name: ``uid``, or ``sAMAccountName`` in Active
    Directory."""
    email_attribute: str = "mail"
    """The attribute with their e-mail address, which the router knows them by."""
    groups_attribute: str = "memberOf"
    """The attribute with the distinguished names of their groups, for ``allowed_groups``."""
    allowed_groups: tuple[str, ...] = ()
    """Groups whose people may log in, by distinguished name, e.g.
    ``cn=chat,ou=groups,dc=lab,dc=example``; everybody below ``search_base`` by default."""
    filter: str = ""
    """What people must match, too, in parentheses, e.g. ``(objectClass=person)``."""
    label: str = "LDAP"
    """What the form says that people log in with."""
    ca_file: LocalPath | None = None
    """PEM file of this machine with the authorities that prove the directory, relative to the
    inventory. By default those that systems know."""
    trusted_network: bool = False
    """Whether passwords may go to an ``ldap://`` directory as they are, over a network where
    no one listens."""

    @field_validator("url")
    @classmethod
    def _url_is_one(cls, url: str) -> str:
        found = read_url(url, *PORTS)
        if found is None or found["path"] not in {None, "/"}:
            raise refusal(
                repr(url), "ldaps://, a host, and a port where it is not 636, without a path"
            )
        return url

    @field_validator("search_base", "bind_dn")
    @classmethod
    def _name_is_distinguished(cls, name: str | None) -> str | None:
        if name is not None and not NAME.fullmatch(name):
            raise refusal(repr(name), "a distinguished name such as 'ou=people,dc=lab,dc=example'")
        return name

    @field_validator("allowed_groups")
    @classmethod
    def _groups_are_distinguished(cls, groups: tuple[str, ...]) -> tuple[str, ...]:
        for group in groups:
            if not NAME.fullmatch(group):
                raise refusal(
                    repr(group),
                    "distinguished names such as 'cn=chat,ou=groups,dc=lab,dc=example'",
                )
        return groups

    @field_validator("username_attribute", "email_attribute", "groups_attribute")
    @classmethod
    def _attribute_is_plain(cls, name: str) -> str:
        if not ATTRIBUTE.fullmatch(name):
            raise refusal(repr(name), "the name of an attribute such as uid or sAMAccountName")
        return name

    @field_validator("filter")
    @classmethod
    def _filter_is_in_parentheses(cls, text: str) -> str:
        if text and not _is_balanced(text):
            raise refusal(
                repr(text), "a filter in parentheses such as '(objectClass=person)', or none"
            )
        return text

    @model_validator(mode="after")
    def _who_looks_up_has_a_password(self) -> LdapSpec:
        if (self.bind_dn is None) != (self.bind_password is None):
            given, missing = ("bind_dn", "bind_password")
            if self.bind_dn is None:
                given, missing = missing, given
            raise refusal(
                f"{given} without {missing}",
                "both, or neither where everybody may look people up",
                f"declare {missing}, or remove {given}",
            )
        return self

    @model_validator(mode="after")
    def _passwords_are_not_overheard(self) -> LdapSpec:
        if not self.has_tls and not self.trusted_network:
            raise refusal(
                f"{self.url}: passwords would go there as they are",
                "ldaps://, which Open WebUI speaks; it does not speak StartTLS",
                "declare ldaps://, or trusted_network=True where no one listens on the way",
            )
        return self

    @property
    def has_tls(self) -> bool:
        """Whether it is spoken to over TLS."""
        return self.url.startswith("ldaps:")

    @property
    def host(self) -> str:
        """Its host; an address of IPv6 without brackets, as the web UI's library wants it."""
        return without_brackets(self._parts["host"])

    @property
    def port(self) -> int:
        """Its port."""
        return int(self._parts["port"] or PORTS[self._parts["scheme"]])

    @property
    def search_filter(self) -> str:
        """What people must match besides their name: the filter, and one of the groups."""
        groups = "".join(
            f"({self.groups_attribute}={group.translate(ESCAPED)})" for group in self.allowed_groups
        )
        return self.filter + (f"(|{groups})" if groups else "")

    @property
    def _parts(self) -> re.Match[str]:
        found = read_url(self.url, *PORTS)
        assert found is not None  # noqa: S101 - it was validated
        return found


def _is_balanced(text: str) -> bool:
    """Whether a text is filters in parentheses, and nothing outside them."""
    depth = 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if depth < 0 or (depth == 0 and character != ")"):
            return False
    return depth == 0
