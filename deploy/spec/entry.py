"""The entry: the one address that people and editors use, over TLS."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Literal

from pydantic import ByteSize, Field, field_validator, model_validator

from deploy.spec.acme import AcmeSpec
from deploy.spec.base import ListenAddress, LocalPath, MemoryLimit, Spec, refusal
from deploy.units import MIB

EntryKind = Literal["haproxy"]
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""A part of a DNS name (https://www.rfc-editor.org/rfc/rfc1123#section-2.1)."""
LONGEST_NAME = 253
HTTP_PORT = 80
"""Where an authority comes to (https://www.rfc-editor.org/rfc/rfc8555#section-8.3)."""
HIGHEST_RATE = 1_000_000


class EntrySpec(Spec):
    """How people reach the deployment: over TLS, the API below ``/v1`` and the web UI."""

    kind: EntryKind = "haproxy"
    """Which entry."""
    host: str | None = None
    """Name of the host that it runs on; the router's by default."""
    listen: ListenAddress = IPv4Address("0.0.0.0")  # noqa: S104 - it is there to be reached
    """Address of the host that both ports are bound to; ``0.0.0.0`` for every interface."""
    http_port: int = Field(default=80, ge=1, le=65535)
    """Port that sends browsers on to ``https_port``."""
    https_port: int = Field(default=443, ge=1, le=65535)
    """Port that serves."""
    names: tuple[str, ...] = ()
    """DNS names and IP addresses that people type, the first one in addresses that Atelier shows;
    by default the host's address."""
    certificate: LocalPath | None = None
    """PEM file of this machine with the site's own certificate and those between it and its
    authority, relative to the inventory; by default Atelier makes one, with an authority of the
    deployment's own."""
    key: LocalPath | None = None
    """PEM file of this machine with the private key of ``certificate``."""
    acme: AcmeSpec | None = None
    """An authority that issues the certificate and renews it, over ACME; e.g. Let's Encrypt."""
    requests_per_minute: int = Field(default=1200, ge=1, le=HIGHEST_RATE)
    """Requests that one address may send within a minute; more are answered with 429. The pages of
    the web UI count, too. An IPv6 address counts as its /64 network."""
    connections: int = Field(default=200, ge=1, le=HIGHEST_RATE)
    """Connections that one address may have open at the same time."""
    router_admin: bool = False
    """Whether the router's own administration is served, to ``router_admin_networks`` alone."""
    router_admin_networks: tuple[str, ...] = ()
    """Networks that administrators come from, e.g. ``["10.0.5.0/24"]``."""
    memory_limit: MemoryLimit = ByteSize(512 * MIB)
    """Memory limit of the container, e.g. ``512MiB``."""
    start_timeout_seconds: int = Field(default=60, ge=5, le=7200)
    """How long the container may take until it is healthy."""

    @field_validator("names")
    @classmethod
    def _names_are_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not is_name(name):
                raise refusal(
                    repr(name),
                    "DNS names in lower case such as ai.lab.example, or IP addresses",
                    "leave out https://, ports, paths and *",
                )
        return tuple(dict.fromkeys(_in_short(name) for name in names))

    @field_validator("router_admin_networks")
    @classmethod
    def _networks_are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            try:
                ip_network(network)
            except ValueError as error:
                raise refusal(
                    repr(network), "networks such as 10.0.5.0/24", f"correct it: {error}"
                ) from None
        return networks

    @model_validator(mode="after")
    def _ports_differ(self) -> EntrySpec:
        if self.http_port == self.https_port:
            raise refusal(
                f"http_port and https_port are both {self.http_port}", "a port of its own for each"
            )
        return self

    @model_validator(mode="after")
    def _certificate_has_a_key(self) -> EntrySpec:
        if (self.certificate is None) != (self.key is None):
            given, missing = ("key", "certificate") if self.key else ("certificate", "key")
            raise refusal(
                f"{given} without {missing}",
                "both certificate and key, or neither",
                f"declare {missing}, or remove {given}: Atelier makes a certificate then",
            )
        return self

    @model_validator(mode="after")
    def _certificate_comes_from_one_place(self) -> EntrySpec:
        if self.acme and self.certificate:
            raise refusal(
                "certificate and acme",
                "one of them",
                "remove certificate and key to have it issued, or acme to serve with your files",
            )
        return self

    @model_validator(mode="after")
    def _authority_comes_to_port_80(self) -> EntrySpec:
        if self.acme and self.http_port != HTTP_PORT and not self.acme.port_80_is_forwarded:
            raise refusal(
                f"http_port is {self.http_port}, and the authority of acme comes to port 80",
                "http_port = 80, or acme.port_80_is_forwarded = True",
                "declare http_port=80; or have port 80 of the names led to this port, and declare"
                " Acme(port_80_is_forwarded=True)",
            )
        return self

    @property
    def has_own_authority(self) -> bool:
        """Whether clients are given the root of an authority of the deployment's own."""
        return self.certificate is None and self.acme is None

    @model_validator(mode="after")
    def _administrators_come_from_somewhere(self) -> EntrySpec:
        if self.router_admin and not self.router_admin_networks:
            raise refusal(
                "router_admin without networks",
                "router_admin=True together with router_admin_networks",
                "declare where administrators come from, e.g. ['10.0.5.0/24']",
            )
        if self.router_admin_networks and not self.router_admin:
            raise refusal(
                "router_admin_networks, but router_admin is not set",
                "router_admin=True together with router_admin_networks",
            )
        return self


def is_name(text: str) -> bool:
    """Whether a text is an IP address or a DNS name in lower case."""
    try:
        ip_address(text)
    except ValueError:
        return is_dns_name(text)
    return True


def _in_short(name: str) -> str:
    """An address as certificates write it; other names as they are."""
    try:
        return str(ip_address(name))
    except ValueError:
        return name


def is_dns_name(text: str) -> bool:
    """Whether a text is a DNS name in lower case."""
    parts = text.split(".")
    # a last part of digits alone is an address that was mistyped
    return (
        len(text) <= LONGEST_NAME
        and all(LABEL.fullmatch(part) for part in parts)
        and not parts[-1].isdigit()
    )
