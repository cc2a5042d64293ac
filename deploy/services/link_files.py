"""What an end of a link has in its files: its certificate and key, and whom it believes."""

from __future__ import annotations

from deploy.services.host_files import ConfigFile
from deploy.spec import SecretText
from deploy.tls.pair import LINKS_AUTHORITY, LinkEnd

CERTIFICATE, KEY, AUTHORITY = "link.pem", "link.pem.key", "authority.pem"
"""HAProxy finds the key by this name."""
HEADER = "x-atelier-link"
"""Header in which an entry names the container that it asks; others name it in the path."""


def link_files(end: LinkEnd) -> dict[str, ConfigFile]:
    """The files of an end, by the names that its configuration has for them."""
    return {
        CERTIFICATE: ConfigFile(content=SecretText.of(end.certificate_name)),
        KEY: ConfigFile(content=SecretText.of(end.key_name), mode=0o600),
        AUTHORITY: ConfigFile(content=SecretText.of(LINKS_AUTHORITY)),
    }
