"""What a host is looked at for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from deploy.hosts.downloads import Download
from deploy.images import ImageUse, archive_path
from deploy.services import HostModelFile, HostProgram, HostWeights, Unit
from deploy.services.weights import distinct_weights
from deploy.spec import HostSpec, WebUISpec
from deploy.tls.pair import OwnCertificates

ROOT = PurePosixPath("/")


@dataclass(frozen=True)
class Subject:
    """A host as it is declared, and what is to run on it."""

    spec: HostSpec
    units: tuple[Unit, ...]
    images: tuple[ImageUse, ...] = ()
    """The images of its units."""
    downloads: tuple[Download, ...] = ()
    """What its engines fetch themselves."""
    directory: PurePosixPath = ROOT
    """The deployment's own directory there."""
    elsewhere: tuple[Unit, ...] = ()
    """The units of the deployment on other hosts."""
    main_router: str = "router"
    """Where the router is declared that stores run next to."""

    certificate: str = ""
    """PEM of what the entry serves with; empty on hosts without one."""
    own_certificates: OwnCertificates | None = None
    """Where Atelier makes that certificate."""
    link_certificates: tuple[tuple[str, bool], ...] = ()
    """PEM of what the ends of links have there so far, and whether the deployment renews it."""
    issued_for: tuple[str, ...] = ()
    """Names that an authority issues the entry's certificate for; empty on other hosts."""
    authority_url: str = ""
    """Where that authority is, if systems know what proves it."""
    router_settings: Mapping[int, str] = field(default_factory=dict)
    """Where the routers on the host are declared, by their ports."""
    web_ui: WebUISpec | None = None
    """The web UI, on its host, if people log in with accounts of the site."""
    login_authorities: Mapping[str, str] = field(default_factory=dict)
    """PEM of what proves a provider of those, by ``oidc`` and ``ldap``."""

    @property
    def has_gpus(self) -> bool:
        """Whether GPUs, or a driver of some, are declared."""
        return bool(self.spec.gpus or self.spec.driver)

    @property
    def model_files(self) -> tuple[HostModelFile, ...]:
        """Every model file, once."""
        return tuple(dict.fromkeys(file for unit in self.units for file in unit.model_files))

    @property
    def programs(self) -> tuple[HostProgram, ...]:
        """Every program that must be there, once."""
        programs = (unit.program for unit in self.units)
        return tuple({program.path: program for program in programs if program}.values())

    @property
    def needs_docker(self) -> bool:
        """Whether something runs in a container there."""
        return any(unit.image_name for unit in self.units)

    @property
    def weights(self) -> tuple[HostWeights, ...]:
        """What must be in the caches of engines, once."""
        return distinct_weights(self.units)

    @property
    def weights_cache(self) -> str:
        """A cache that is outside the host's own directory; empty if there is none."""
        caches = (weights.cache for weights in self.weights)
        others = (each for each in caches if not each.is_relative_to(self.spec.directory))
        return str(next(others, ""))

    @property
    def paths(self) -> list[str]:
        """Files whose size says whether they are there: models, archives of images, programs."""
        models = [path for file in self.model_files for _, path in file.parts]
        archives = [use.archive.file for use in self.images if use.archive]
        both = [*models, *(archive_path(self.directory, archive) for archive in archives)]
        programs = [program.path for program in self.programs]
        return [str(path) for path in (*both, *programs, *self.model_records)]

    @property
    def model_records(self) -> tuple[PurePosixPath, ...]:
        """Files that say which models are in stores that are directories of the host."""
        models = (model for unit in self.units for model in unit.models)
        return tuple(dict.fromkeys(model.record for model in models if not model.volume))
