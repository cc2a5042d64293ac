"""Certificates as a site has them, good and bad."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from deploy.tls.authority import issue, make_authority
from deploy.tls.pair import Pair


def site_pair(*names: str, days_ago: int = 0) -> Pair:
    """A certificate with its authority's behind it, made some days ago."""
    then = datetime.now(UTC) - timedelta(days=days_ago)
    authority = make_authority("site", then)
    server = issue(authority, names or ("ai.lab.example",), then)
    return Pair(server.certificate + authority.certificate, server.key)


def encrypted(key: str) -> str:
    """The key with a passphrase."""
    loaded = serialization.load_pem_private_key(key.encode(), password=None)
    return loaded.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"passphrase"),
    ).decode()


def write_pair(pair: Pair, directory: Path) -> None:
    """As ``site.crt`` and ``site.key``."""
    (directory / "site.crt").write_text(pair.certificate)
    (directory / "site.key").write_text(pair.key)
