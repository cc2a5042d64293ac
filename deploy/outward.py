"""Requests of this machine to the world outside, by the proxies that its environment names."""

from __future__ import annotations

import os
from typing import Any

import httpx

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
SOCKS = "SOCKS needs the package socksio where Atelier is installed: pip install 'httpx[socks]'"
ALLOWED = (
    "write proxies as http://proxy.example:3128, special characters of a password as %40 and so on,"
    " and names or addresses in NO_PROXY, but no ranges of IPv6"
)


def open_client(**options: Any) -> httpx.Client:
    """A client of HTTP.

    Args:
        options: of ``httpx.Client``.

    Raises:
        httpx.ProxyError: if the environment names proxies that it cannot use.
    """
    try:
        return httpx.Client(**options)
    except ImportError:
        raise httpx.ProxyError(_problem(SOCKS)) from None
    except (ValueError, httpx.InvalidURL):
        # what is raised may quote a part of a password
        raise httpx.ProxyError(_problem(ALLOWED)) from None


def _problem(fix: str) -> str:
    names = [each for name in VARIABLES for each in (name, name.lower()) if os.environ.get(each)]
    return f"the proxies of this machine cannot be used ({', '.join(names)}): {fix}"
