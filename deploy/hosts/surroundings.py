"""What a host has to reach for its images, and what it means if it does not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from deploy.hosts.finding import Finding
from deploy.hosts.state import Surroundings
from deploy.images import ImageUse
from deploy.images.reference import DOCKER_HUB, address_of
from deploy.services import Unit
from deploy.services.ollama_model import LIBRARY

DOCKER_HUB_SERVER = "registry-1.docker.io"
"""Where images without a registry's name come from."""
WITHOUT_NAMES = "without names no image can be pulled"
NAMELESS = (
    "an authority must find the entry by this name: add it to the DNS that the authority asks;"
    " the answer on this host may differ"
)


def registry_of(reference: str) -> str:
    """Host, and port where there is one, of the server that an image is pulled from."""
    address = address_of(reference)
    return DOCKER_HUB_SERVER if address == DOCKER_HUB else address


def registry_urls(pulled: Iterable[ImageUse]) -> tuple[str, ...]:
    """Where each registry says that it is one."""
    registries = {registry_of(use.image.reference) for use in pulled}
    return tuple(f"{_scheme(registry)}://{registry}/v2/" for registry in sorted(registries))


def library_urls(units: Iterable[Unit]) -> tuple[str, ...]:
    """Where Ollama's library is, if a model is pulled from it."""
    pulled = any(not model.modelfile for unit in units for model in unit.models)
    return (f"https://{LIBRARY}/",) if pulled else ()


def _scheme(registry: str) -> str:
    """Docker speaks HTTP without TLS to registries on the host itself."""
    return "http" if registry.startswith(("127.", "localhost")) else "https"


def surroundings_findings(
    found: Surroundings, own: Iterable[str] = (), authority: str = ""
) -> Iterator[Finding]:
    """What is to be said about names, registries and authorities.

    Args:
        found: what the host reaches.
        own: names that an authority is to find the entry by.
        authority: where that is.
    """
    for name, has_address in sorted(found.resolved.items()):
        if has_address:
            yield Finding("DNS", "ok", f"{name} has an address")
        else:
            fix = NAMELESS if name in own else "see /etc/resolv.conf there; " + WITHOUT_NAMES
            yield Finding("DNS", "warning", f"{name} has no address on the host", fix=fix)
    for url, answer in sorted(found.reached.items()):
        name = urlsplit(url).netloc
        if url == authority:
            yield _authority(name, answer)
        else:
            yield _library(name, answer) if name == LIBRARY else _registry(name, answer)


def _authority(name: str, answer: str) -> Finding:
    fix = (
        "without it no certificate is issued: see its status, or give the container a proxy:"
        " Acme(env={'HTTPS_PROXY': ...})"
    )
    return _server("authority", name, answer, fix, answers=answer == "200")


def _registry(name: str, answer: str) -> Finding:
    fix = (
        "images that are not on the host yet cannot be pulled: declare registry_mirror, "
        "give the host a proxy, or bring the images there yourself"
    )
    # a registry asks for a login with 401: it is one, and it is there
    return _server("registry", name, answer, fix, answers=answer in {"200", "401", "403"})


def _library(name: str, answer: str) -> Finding:
    fix = (
        "models that are not on the host yet cannot be pulled: declare path with a GGUF file,"
        " or give Ollama a proxy: engine.env with HTTPS_PROXY"
    )
    # any answer will do: it need not be a page
    answers = answer.isdigit() and answer != "000"
    return _server("Ollama's library", name, answer, fix, answers=answers)


def _server(what: str, name: str, answer: str, fix: str, *, answers: bool) -> Finding:
    if answers:
        return Finding(what, "ok", f"{name} answers")
    return Finding(what, "warning", f"{name} does not answer the host: {answer}", fix=fix)
