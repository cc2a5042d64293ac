"""A whole deployment, as declared."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Literal

from pydantic import Field, field_validator, model_validator

from deploy.spec.addresses import read_url
from deploy.spec.base import NAME, LocalPath, refusal
from deploy.spec.engine import EngineSpec
from deploy.spec.entry import EntrySpec
from deploy.spec.host import HostSpec
from deploy.spec.image import ImageSource, ImageSpec
from deploy.spec.links import LinksSpec
from deploy.spec.model import ModelSpec
from deploy.spec.people import LimitsSpec, PersonSpec, TeamSpec
from deploy.spec.registry import RegistrySpec
from deploy.spec.routers import RoutersSpec
from deploy.spec.secrets import SecretName, SecretSource
from deploy.spec.stores import PostgresSpec, ValkeySpec
from deploy.spec.web_ui import WebUISpec

REGISTRY = re.compile(r"[\w.-]+(:\d+)?(/[\w.-]+)*/?")
Use = Literal["research", "internal_commercial", "third_party_service"]


class DeploymentSpec(RoutersSpec):
    """What an operator wants: machines, models and the services around them."""

    name: str
    """Name of the deployment; containers, networks and volumes start with it."""
    profile: str | None = None
    """Name of the profile whose defaults apply, e.g. ``individual``."""
    users: int = Field(default=1, ge=1, le=100_000)
    """How many people use it."""
    use: Use = "internal_commercial"
    """What it is used for; the licence of a model may not allow it."""
    context_tokens: int | None = Field(default=None, ge=1, le=10_000_000)
    """Tokens of a typical request, with which the plan counts users; 8192 by default, 2048 for
    models that only complete code."""
    hosts: tuple[HostSpec, ...] = Field(min_length=1)
    """The machines it runs on."""
    models: tuple[ModelSpec, ...] = Field(min_length=1)
    """The models it serves."""
    engine: EngineSpec = EngineSpec()
    """What runs the models."""
    web_ui: WebUISpec | None = WebUISpec()
    """Chat in a browser; ``None`` for a deployment without."""
    postgres: PostgresSpec | None = None
    """Where the router keeps keys and the web UI its users; ``None`` for a router with the master
    key alone, and a web UI on SQLite."""
    valkey: ValkeySpec | None = None
    """What several routers share: limits, spending, routing state."""
    entry: EntrySpec | None = None
    """One address for people and editors, over TLS; ``None`` for a deployment without."""
    links: LinksSpec = LinksSpec()
    """How requests go from one host to another."""
    limits: LimitsSpec = LimitsSpec()
    """What each person may use, unless they have limits of their own."""
    teams: tuple[TeamSpec, ...] = ()
    """Groups of people, with the models and the budget that they share."""
    people: tuple[PersonSpec, ...] = ()
    """Who has a key of their own."""
    people_file: LocalPath | None = None
    """More people: a CSV file with the settings of a person as its columns, or a YAML file with a
    list of them; relative to the inventory."""
    image_source: ImageSource = "pull"
    """Where images come from unless said otherwise: ``pull``, ``build`` or ``load``."""
    image_archives: LocalPath | None = None
    """``load``: directory of archives called ``<image>.tar.gz`` or ``<image>.tar``, relative to the
    inventory."""
    registry_mirror: str | None = None
    """Registry that images are pulled through, e.g. ``registry.lab:5000``."""
    registries: tuple[RegistrySpec, ...] = ()
    """Registries that want a login, or have a certificate of your own authority."""
    huggingface_endpoint: str = "https://huggingface.co"
    """Where models are fetched from: Hugging Face, or a mirror, e.g. ``https://hub.lab``."""
    images: dict[str, ImageSpec] = Field(default_factory=dict)
    """Images that should differ from the catalogue's, by catalogue name."""
    secrets: dict[SecretName, SecretSource] = Field(default_factory=dict)
    """Secrets that come from elsewhere; every other one is generated once."""
    secrets_file: LocalPath | None = None
    """Where generated secrets are kept; by default ``.secrets/<name>.yaml``."""

    @field_validator("name")
    @classmethod
    def _name_is_plain(cls, name: str) -> str:
        if not NAME.fullmatch(name) or len(name) > 40:
            raise refusal(repr(name), "at most 40 lower-case letters, digits, dots and hyphens")
        return name

    @field_validator("registry_mirror")
    @classmethod
    def _mirror_is_a_registry(cls, mirror: str | None) -> str | None:
        if mirror is not None and not REGISTRY.fullmatch(mirror):
            raise refusal(
                repr(mirror),
                "a name or an IPv4 address, its port and its path, e.g. registry.lab:5000/hub",
                "leave out http:// and https://",
            )
        return mirror

    @field_validator("huggingface_endpoint")
    @classmethod
    def _endpoint_is_a_url(cls, url: str) -> str:
        if not read_url(url, "http", "https"):
            raise refusal(repr(url), "http:// or https://, and a host, e.g. 'https://hub.lab'")
        return url.rstrip("/")

    @field_validator("hosts")
    @classmethod
    def _hosts_are_distinct(cls, hosts: tuple[HostSpec, ...]) -> tuple[HostSpec, ...]:
        _refuse_repeats([host.name for host in hosts], "host")
        return hosts

    @field_validator("registries")
    @classmethod
    def _registries_are_distinct(
        cls, registries: tuple[RegistrySpec, ...]
    ) -> tuple[RegistrySpec, ...]:
        _refuse_repeats([registry.address for registry in registries], "registry")
        return registries

    @field_validator("models")
    @classmethod
    def _models_are_distinct(cls, models: tuple[ModelSpec, ...]) -> tuple[ModelSpec, ...]:
        _refuse_repeats([model.name for model in models], "model")
        served = [name for model in models for name in (model.served_name, *model.lora_adapters)]
        _refuse_repeats(served, "served model name")
        return models

    @field_validator("teams")
    @classmethod
    def _teams_are_distinct(cls, teams: tuple[TeamSpec, ...]) -> tuple[TeamSpec, ...]:
        _refuse_repeats([team.name for team in teams], "team")
        return teams

    @field_validator("people")
    @classmethod
    def _people_are_distinct(cls, people: tuple[PersonSpec, ...]) -> tuple[PersonSpec, ...]:
        _refuse_repeats([person.name for person in people], "person")
        return people

    @model_validator(mode="after")
    def _services_have_hosts(self) -> DeploymentSpec:
        names = [host.name for host in self.hosts]
        web_ui_host = self.web_ui.host if self.web_ui else None
        entry_host = self.entry.host if self.entry else None
        for setting, host in (
            *((f"{path}.host", router.host) for path, router in self.router_settings()),
            ("web_ui.host", web_ui_host),
            ("entry.host", entry_host),
        ):
            if host is not None and host not in names:
                raise refusal(f"{setting} is {host!r}, which is not declared", ", ".join(names))
        return self

    @model_validator(mode="after")
    def _routers_share_a_host(self) -> DeploymentSpec:
        for path, router in self.router_settings():
            if router.host not in {None, self.router_host}:
                raise refusal(
                    f"{path}.host is {router.host!r}, and the first router runs on"
                    f" {self.router_host!r}",
                    "both routers on one host: their database is there, and links begin there",
                    f"remove {path}.host, or declare the same host for both",
                )
        return self

    @property
    def router_host(self) -> str:
        """Name of the host that the routers run on."""
        return self.main_router.host or self.hosts[0].name

    @property
    def web_ui_host(self) -> str:
        """Name of the host that the web UI runs on, if there is one."""
        return (self.web_ui.host if self.web_ui else None) or self.router_host

    @property
    def entry_host(self) -> str:
        """Name of the host that the entry runs on, if there is one."""
        return (self.entry.host if self.entry else None) or self.router_host

    @model_validator(mode="after")
    def _ports_are_distinct(self) -> DeploymentSpec:
        taken: dict[tuple[str, int], str] = {}
        for setting, host, port in self.service_ports():
            other = taken.setdefault((host, port), setting)
            if other != setting:
                raise refusal(
                    f"{other} and {setting} are both {port}",
                    "a port of its own for each service",
                    f"give one of them another port, e.g. {setting} = {port + 1}",
                )
        return self

    def service_ports(self) -> Iterator[tuple[str, str, int]]:
        """Setting, host and port of each service that faces people."""
        for path, router in self.router_settings():
            yield f"{path}.port", self.router_host, router.port
        if self.web_ui:
            yield "web_ui.port", self.web_ui_host, self.web_ui.port
        if self.entry:
            yield "entry.http_port", self.entry_host, self.entry.http_port
            yield "entry.https_port", self.entry_host, self.entry.https_port

    def engine_of(self, model: ModelSpec) -> EngineSpec:
        """How a model is served: its own settings over the deployment's of the same engine."""
        own = model.engine
        if own is None:
            return self.engine
        if own.kind != self.engine.kind:
            return own
        common = self.engine.model_dump(exclude_unset=True)
        return EngineSpec.model_validate(common | own.model_dump(exclude_unset=True))


def _refuse_repeats(names: list[str], what: str) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise refusal(
            f"{what} {repeated[0]!r} is declared more than once",
            f"each {what} once",
            f"remove or rename the second {repeated[0]!r}",
        )
