"""A program that must be on a host for a service that runs there without a container."""

from __future__ import annotations

from pathlib import PurePosixPath

from deploy.programs import ProgramArchive
from deploy.services.runs import Part


class HostProgram(Part):
    """A program on a host; each version is kept until ``atelier prune``, to go back to."""

    name: str
    """Name of the program, e.g. ``llama-server``."""
    version: str
    path: PurePosixPath
    """What is executed; of an archive, a link to what is in it."""
    archive: ProgramArchive | None = None
    """What is unpacked in the directory of ``path``; ``None`` where it is there already."""

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.name} {self.version}".strip()
