"""What a host is looked at for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from deploy.hosts.downloads import Download
from deploy.images import ImageUse, archive_path
from deploy.services import HostModelFile, Unit
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
        return sorted(created.union(*(download.volumes for download in self.downloads)))
