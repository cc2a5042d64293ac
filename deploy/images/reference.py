"""Names of images, read as Docker reads them.

Docker's SDK has this too (``docker.auth``), but importing it takes 0.2 s of every command.
"""

from __future__ import annotations

DOCKER_HUB = "docker.io"
INDEX = "index.docker.io"
"""Another name of Docker's own registry."""


def address_of(reference: str) -> str:
    """Host, and port where there is one, of the registry in an image's reference."""
    return _split(reference)[0]


def familiar(reference: str) -> str:
    """A reference as Docker shows it: without the name of its own registry."""
    address, path = _split(reference)
    return path.removeprefix("library/") if address == DOCKER_HUB else f"{address}/{path}"


def listed(reference: str) -> str:
    """A reference as Docker lists what it has: one with a digest without its tag."""
    name, at, digest = familiar(reference).partition("@")
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}@{digest}" if at else name


def _split(reference: str) -> tuple[str, str]:
    head, slash, path = reference.partition("/")
    if not slash or not ("." in head or ":" in head or head == "localhost"):
        return DOCKER_HUB, reference
    return DOCKER_HUB if head == INDEX else head, path
