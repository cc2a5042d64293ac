"""Addresses of servers in settings: names, IPv4, and IPv6 in brackets, as urllib reads them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from deploy import Acme, Driver, Host, Ldap, Oidc, Secret, WebUI
from deploy.errors import AtelierError
from deploy.words import declare
from tests.spec.test_bad_inventories import DEMO

SECRET = Secret(env="X")
FIELDS: dict[str, Any] = {
    "acme.directory": lambda place: (
        Acme(terms_agreed=True, directory=f"https://{place}/dir").directory
    ),
    "huggingface_endpoint": lambda place: (
        declare(DEMO | {"huggingface_endpoint": f"https://{place}"}).huggingface_endpoint
    ),
    "oidc.issuer": lambda place: (
        Oidc(issuer=f"https://{place}/realms/lab", client_id="x", client_secret=SECRET).issuer
    ),
    "ldap.url": lambda place: Ldap(url=f"ldaps://{place}", search_base="dc=lab").url,
    "driver.repository": lambda place: Driver(repository=f"https://{place}/apt").repository,
    "web_ui.url": lambda place: WebUI(url=f"https://{place}").url,
    "ssh_jump": lambda place: f"ssh://{Host(name='gpu1', ssh_jump=f'me@{place}').ssh_jump}",
}
GOOD = {
    "lab.example": ("lab.example", None),
    "10.0.0.9:8443": ("10.0.0.9", 8443),
    "[2001:db8::1]": ("2001:db8::1", None),
    "[2001:db8::1]:636": ("2001:db8::1", 636),
    "[::ffff:10.0.0.9]:1": ("::ffff:10.0.0.9", 1),
}
BAD = (
    "",
    "[",
    "[]",
    "[2001:db8::1",
    "2001:db8::1",
    "[lab]",
    "[::1]x",
    "lab:0",
    "lab:65536",
    "lab:",
)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("place", GOOD)
def test_a_server_is_taken_as_it_is_written(field: str, place: str) -> None:
    parts = urlsplit(FIELDS[field](place))
    assert (parts.hostname, parts.port) == GOOD[place]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("place", BAD)
def test_what_is_no_server_is_refused(field: str, place: str) -> None:
    with pytest.raises(AtelierError):
        FIELDS[field](place)
