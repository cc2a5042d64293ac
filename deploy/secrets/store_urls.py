"""Addresses of stores that an operator declares: checked beforehand, never shown."""

from __future__ import annotations

from typing import NoReturn
from urllib.parse import SplitResult, urlsplit

from deploy.errors import Problem, SecretError

DATABASE = "postgresql://name:password@host:5432/database"
REDIS = "redis://:password@host:6379/0, or rediss:// with TLS"


def require_database_url(value: str, setting: str, scheme: str = "postgresql") -> str:
    """The address of a database, with the scheme that its client knows.

    Args:
        value: the address.
        setting: where it is declared.
        scheme: what it starts with then.

    Raises:
        SecretError: without quoting it.
    """
    parts = _split(value, setting, DATABASE)
    if parts.scheme not in {"postgres", "postgresql"}:
        _refuse(setting, f"it starts with {_scheme(parts)}", DATABASE)
    if not parts.hostname or not parts.username or parts.path in {"", "/"}:
        missing = "host" if not parts.hostname else "user" if not parts.username else "database"
        _refuse(setting, f"it names no {missing}", DATABASE)
    return parts._replace(scheme=scheme).geturl()


def require_redis_url(value: str, setting: str) -> str:
    """The address of a server that speaks Redis' protocol.

    Args:
        value: the address.
        setting: where it is declared.

    Raises:
        SecretError: without quoting it.
    """
    parts = _split(value, setting, REDIS)
    if parts.scheme not in {"redis", "rediss"}:
        _refuse(setting, f"it starts with {_scheme(parts)}", REDIS)
    if not parts.hostname:
        _refuse(setting, "it names no host", REDIS)
    return value


def _split(value: str, setting: str, allowed: str) -> SplitResult:
    if not value.isprintable() or " " in value:
        _refuse(setting, "a space, a line break or a control character in it", allowed)
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 - raises what is wrong with it
    except ValueError:
        _refuse(setting, "its host or its port cannot be read", allowed)
    return parts


def _scheme(parts: SplitResult) -> str:
    # what is no address may be a password
    return f"{parts.scheme}://" if parts.netloc else "no scheme"


def _refuse(setting: str, found: str, allowed: str) -> NoReturn:
    fix = "quote special characters of the password, e.g. @ as %40"
    raise SecretError(Problem(setting, found, allowed, fix))
