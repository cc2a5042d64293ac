"""The images of a host, where they came from, and what it needs to pull more."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field

from pyinfra.api import FactBase

from deploy.facts.engine import ENGINE, UNLESS_ENGINE, show
from deploy.facts.sections import split_sections
from deploy.images.reference import familiar, listed


@dataclass(frozen=True)
class ImagesState:
    """Images of a host."""

    ids: dict[str, str] = field(default_factory=dict)
    """Ids of the images that the host has, by every name that they have."""
    loaded: frozenset[tuple[str, str]] = frozenset()
    """Id of an image and sha256 of the archive that it was loaded from."""
    digests: dict[str, str] = field(default_factory=dict)
    """sha256 of the files there are, by path."""

    def image_id(self, reference: str) -> str | None:
        """Id of an image, if the host has it."""
        return self.ids.get(listed(reference))


class Images(FactBase[ImagesState]):
    """All images, and which of the wanted files there are."""

    def command(self, record: str, files: list[str]) -> str:
        """Print sections.

        Args:
            record: the file in which images are written down that this deployment brought.
            files: files whose digests are wanted.
        """
        paths = " ".join(shlex.quote(path) for path in files)
        return "; ".join(
            [
                f"echo '@record'; cat {shlex.quote(record)} 2>/dev/null",
                f"echo '@files'; sha256sum -- {paths} 2>/dev/null" if files else "true",
                f"{ENGINE}\n{UNLESS_ENGINE}",
                f"echo '@images'; {show('images')}",
            ]
        )

    @staticmethod
    def default() -> ImagesState:
        """A host that has nothing."""
        return ImagesState()

    def process(self, output: list[str]) -> ImagesState:
        """Parse the sections."""
        sections = split_sections(output)
        record = [line.split() for line in sections.get("record", [])]
        files = [line.split("  ", 1) for line in sections.get("files", [])]
        return ImagesState(
            ids=ids_by_name(sections.get("images", [])),
            loaded=frozenset((row[1], row[2]) for row in record if len(row) == 3),
            digests={row[1]: row[0] for row in files},
        )


def ids_by_name(rows: Iterable[str]) -> dict[str, str]:
    """Ids of images by every name that they have, from rows of names and an id."""
    return {
        familiar(name): image_id
        for *names, image_id in (row.split() for row in rows)
        for name in names
    }
