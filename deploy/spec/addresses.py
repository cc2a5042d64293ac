"""Addresses of servers as URLs have them: a name, IPv4, or IPv6 in brackets."""

from __future__ import annotations

import re
from ipaddress import IPv6Address

HOST = r"(?P<host>\[[^\s\]]*\]|[^\s/@?#:\[\]]+)"
PORT = r"(:(?P<port>\d{1,5}))?"
URL = re.compile(rf"(?P<scheme>[a-z]+)://{HOST}{PORT}(?P<path>/[^\s@?#]*)?")
HIGHEST_PORT = 65535


def read_url(text: str, *schemes: str) -> re.Match[str] | None:
    """The scheme, the host, the port and the path of a URL; ``None`` if it is none of these.

    Args:
        text: what may be one, without a user, ``?`` and ``#``.
        schemes: those that are allowed.
    """
    found = URL.fullmatch(text)
    return found if found and found["scheme"] in schemes and is_place(found) else None


def is_place(found: re.Match[str]) -> bool:
    """Whether a host and a port that were found can be ones."""
    host = found["host"]
    if host.startswith("["):
        try:
            IPv6Address(without_brackets(host))
        except ValueError:
            return False
    return 0 < int(found["port"] or 1) <= HIGHEST_PORT


def without_brackets(host: str) -> str:
    """A host as programs are told it that are told the port apart."""
    return host.removeprefix("[").removesuffix("]")
