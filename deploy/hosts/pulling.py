"""What an operator does about an image that cannot be pulled."""

from __future__ import annotations

import re

from deploy.hosts.explain_docker import explain_docker
from deploy.images.reference import address_of


def explain_pull(message: str, reference: str, *, has_login: bool) -> str:
    """How to fix it, by what Docker says; empty if that is not known.

    Args:
        message: what Docker said.
        reference: the image.
        has_login: whether a login is declared for its registry.
    """
    registry = address_of(reference)
    login = (
        f"check username and password of Registry(address={registry!r})"
        if has_login
        else f"declare registries=[Registry(address={registry!r}, username='...', "
        "password=Secret(env='...'))], or check the image's name"
    )
    fixes = {
        r"x509|certificate|tls: ": (
            f"declare registries=[Registry(address={registry!r}, ca='ca.crt')] with the "
            "certificate of the authority that signed the registry's"
        ),
        r"HTTP response to HTTPS": (
            f"{registry} has no TLS: give it a certificate, or declare "
            f"docker_settings={{'insecure-registries': [{registry!r}]}} for the host"
        ),
        r"toomanyrequests": f"{registry} limits pulls: {login}; or declare registry_mirror",
        r"unauthorized|authentication required|no basic auth|denied|forbidden": login,
        r"manifest unknown|not found|manifest for|name unknown": (
            f"{registry} does not have {reference}: declare images={{...: Image(reference='...')}}"
        ),
        r"no such host|dial tcp|timeout|timed out|deadline exceeded|request canceled|refused|reset"
        r"|unreachable|no route|EOF": (
            f"the host does not reach {registry}: declare registry_mirror, or bring the image: "
            "image_source='load'"
        ),
    }
    return explain_docker(message) or next(
        (fix for said, fix in fixes.items() if re.search(said, message)), ""
    )
