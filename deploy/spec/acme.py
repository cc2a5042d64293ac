"""Certificates that an authority issues by itself, over ACME (RFC 8555)."""

from __future__ import annotations

import re

from pydantic import ByteSize, Field, field_validator, model_validator

from deploy.spec.addresses import read_url
from deploy.spec.base import LocalPath, MemoryLimit, Spec, refusal
from deploy.spec.secrets import EnvironmentValue, SecretSource, refuse_plain_secrets
from deploy.units import MIB

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
KEY_ID = re.compile(r"[^\s%#]+")
EMAIL = re.compile(r"[^\s@,%#]+@[^\s@,%#]+\.[^\s@,%#]+")


class ExternalAccountSpec(Spec):
    """An account that you have with the authority already: external account binding."""

    key_id: str
    """The key's identifier (EAB kid), as the authority shows it."""
    hmac: SecretSource
    """The key itself (EAB HMAC key), in base64url as the authority shows it."""

    @field_validator("key_id")
    @classmethod
    def _key_id_is_one_word(cls, key_id: str) -> str:
        if not KEY_ID.fullmatch(key_id):
            raise refusal(repr(key_id), "one word, as the authority shows it")
        return key_id


class AcmeSpec(Spec):
    """Where the entry's certificate comes from, and on which terms.

    The authority fetches a file from port 80 of each of the entry's names (http-01).
    """

    terms_agreed: bool = False
    """Whether you agree to the authority's terms of service; it issues nothing otherwise."""
    email: str | None = None
    """Where the authority writes to, if it does."""
    directory: str = LETS_ENCRYPT
    """Address of the authority's ACME directory; Let's Encrypt's by default."""
    external_account: ExternalAccountSpec | None = None
    """For authorities that issue only to known customers, as those of institutions do."""
    ca_file: LocalPath | None = None
    """PEM file of this machine with the certificates that prove the directory and what it issues,
    of an authority that systems do not know; relative to the inventory."""
    port_80_is_forwarded: bool = False
    """Whether something in front leads port 80 of the names to another ``http_port``."""
    env: dict[str, EnvironmentValue] = Field(default_factory=dict)
    """More environment variables, e.g. ``HTTPS_PROXY`` where the host has no other way out."""
    memory_limit: MemoryLimit = ByteSize(256 * MIB)
    """Memory limit of the container, e.g. ``256MiB``."""
    start_timeout_seconds: int = Field(default=60, ge=5, le=7200)
    """How long the container may take until it is healthy."""

    @field_validator("email")
    @classmethod
    def _email_has_a_domain(cls, email: str | None) -> str | None:
        if email is not None and not EMAIL.fullmatch(email):
            raise refusal(repr(email), "an e-mail address such as admin@lab.example")
        return email

    @field_validator("directory")
    @classmethod
    def _directory_is_a_url(cls, url: str) -> str:
        if not read_url(url, "https"):
            raise refusal(repr(url), "https:// and the path of a directory", f"e.g. {LETS_ENCRYPT}")
        return url

    @field_validator("env")
    @classmethod
    def _env_has_no_secrets(cls, env: dict[str, EnvironmentValue]) -> dict[str, EnvironmentValue]:
        return refuse_plain_secrets(env)

    @model_validator(mode="after")
    def _terms_are_agreed_to(self) -> AcmeSpec:
        if not self.terms_agreed:
            raise refusal(
                "the authority's terms of service are not agreed to",
                "terms_agreed=True",
                f"read them ({self.directory} names them as termsOfService), and declare it",
            )
        return self
