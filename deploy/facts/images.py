"""The images of a host, where they came from, and what it needs to pull more."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field

from pyinfra.api import FactBase

from deploy.facts.engine import UNLESS_ENGINE
from deploy.facts.sections import split_sections


@dataclass(frozen=True)
class ImagesState:
    """Images of a host."""

    ids: dict[str, str] = field(default_factory=dict)
    """Ids of the images that the host has, by reference."""
    loaded: frozenset[tuple[str, str]] = frozenset()
    """Id of an image and sha256 of the archive that it was loaded from."""
    digests: dict[str, str] = field(default_factory=dict)
    """sha256 of the files there are, by path."""


class Images(FactBase[ImagesState]):
    """Which of the wanted images and files there are."""

    def command(self, references: list[str], record: str, files: list[str]) -> str:
        """Print sections.

        Args:
            references: the wanted images.
            record: the file in which images are written down that this deployment brought.
            files: files whose digests are wanted.
        """
        quoted = " ".join(shlex.quote(reference) for reference in references)
        paths = " ".join(shlex.quote(path) for path in files)
        return "; ".join(
            [
                f"echo '@record'; cat {shlex.quote(record)} 2>/dev/null",
                f"echo '@files'; sha256sum -- {paths} 2>/dev/null" if files else "true",
                UNLESS_ENGINE,
                f"echo '@images'; for image in {quoted}; do "
                "id=$(docker image inspect --format '{{.Id}}' "
                '"$image" 2>/dev/null) && echo "$image $id"; done',
                "true",
            ]
        )

    @staticmethod
    def default() -> ImagesState:
        """A host that has nothing."""
        return ImagesState()

    def process(self, output: list[str]) -> ImagesState:
        """Parse the sections."""
        sections = split_sections(output)
        images = [line.split() for line in sections.get("images", [])]
        record = [line.split() for line in sections.get("record", [])]
        files = [line.split("  ", 1) for line in sections.get("files", [])]
        return ImagesState(
            ids={row[0]: row[1] for row in images},
            loaded=frozenset((row[1], row[2]) for row in record if len(row) == 3),
            digests={row[1]: row[0] for row in files},
        )
