"""Registries that images are pulled from."""

from __future__ import annotations

import re

from pydantic import field_validator, model_validator

from deploy.spec.base import LocalPath, Spec, refusal
from deploy.spec.secrets import SecretSource

ADDRESS = re.compile(r"[A-Za-z0-9.-]+(:\d{1,5})?")


class RegistrySpec(Spec):
    """A registry that wants a login, or has a certificate of your own authority."""

    address: str
    """Name, and port where there is one, as references have them, e.g. ``registry.lab:5000``."""
    username: str | None = None
    """Who pulls."""
    password: SecretSource | None = None
    """Where the password or token comes from; it is used for pulling, and not kept."""
    ca: LocalPath | None = None
    """Certificate of the authority that signed the registry's, a PEM file relative to the
    inventory."""

    @field_validator("address")
    @classmethod
    def _address_is_a_name(cls, address: str) -> str:
        if not ADDRESS.fullmatch(address):
            raise refusal(
                repr(address),
                "a name or an IPv4 address, and its port, e.g. registry.lab:5000",
                "leave out http://, https:// and the path",
            )
        return address

    @field_validator("username")
    @classmethod
    def _username_is_plain(cls, username: str | None) -> str | None:
        if username is not None and (not username.isprintable() or ":" in username or not username):
            raise refusal(repr(username), "printable text without a colon")
        return username

    @model_validator(mode="after")
    def _login_is_whole(self) -> RegistrySpec:
        if (self.username is None) != (self.password is None):
            missing = "password" if self.password is None else "username"
            raise refusal(f"a login without its {missing}", "username and password, or neither")
        return self
