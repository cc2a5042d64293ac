"""What a host is looked at for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from deploy.hosts.downloads import Download
from deploy.images import ImageUse, archive_path
from deploy.services import HostModelFile, HostWeights, Unit
from deploy.services.weights import distinct_weights
from deploy.spec import HostSpec
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

    certificate: str = ""
    """PEM of what the entry serves with; empty on hosts without one."""
    own_certificates: OwnCertificates | None = None
    """Where Atelier makes that certificate."""

    @property
    def model_files(self) -> tuple[HostModelFile, ...]:
        """Every model file, once."""
        files = (unit.model_file for unit in self.units)
        return tuple(dict.fromkeys(file for file in files if file))

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
        """The large files that are copied there: models, and archives of images."""
        models = [path for file in self.model_files for _, path in file.parts]
        archives = [use.archive.file for use in self.images if use.archive]
        both = [*models, *(archive_path(self.directory, archive) for archive in archives)]
        return [str(path) for path in both]

    @property
    def volumes(self) -> list[str]:
        """The volumes whose presence says that a model has come already."""
        created = {c.model.volume for c in self.units if c.model and c.model_file}
        return sorted(created | {download.volume for download in self.downloads})
