"""Images that a deployment brought to a host, and who uses them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from pyinfra.api import FactBase

from deploy.facts.engine import UNLESS_ENGINE
from deploy.facts.sections import split_sections


@dataclass(frozen=True)
class BroughtImage:
    """An image that is still there."""

    reference: str
    """The name under which it was brought."""
    id: str
    size_bytes: int
    tags: tuple[str, ...]
    """The names that it has now."""
    is_used: bool
    """Whether a container is made of it, or another deployment brought it, too."""


class OldImages(FactBase[tuple[BroughtImage, ...]]):
    """What a deployment brought, in the order in which it did."""

    def command(self, record: str) -> str:
        """Print sections.

        Args:
            record: the file in which it is written down, ``<deployment>/images.list``.
        """
        own = shlex.quote(record)
        return "; ".join(
            [
                f"[ -f {own} ] || exit 0",
                UNLESS_ENGINE,
                f"echo '@record'; cat {own}",
                f'for list in "$(dirname -- "$(dirname -- {own})")"/*/images.list; do '
                f'[ "$list" = {own} ] || {{ echo \'@others\'; cat "$list"; }}; done',
                "echo '@containers'; ids=$(docker container ls --all --quiet)",
                "[ -z \"$ids\" ] || docker container inspect --format '{{.Image}}' $ids",
                f"echo '@images'; ids=$(awk '{{print $2}}' {own} | sort -u)",
                '[ -z "$ids" ] || docker image inspect --format '
                "'{{.Id}} {{.Size}}{{range .RepoTags}} {{.}}{{end}}' $ids 2>/dev/null",
                "true",
            ]
        )

    @staticmethod
    def default() -> tuple[BroughtImage, ...]:
        """Nothing."""
        return ()

    def process(self, output: list[str]) -> tuple[BroughtImage, ...]:
        """Parse the sections."""
        sections = split_sections(output)
        there = {row[0]: row[1:] for row in _rows(sections, "images")}
        used = {row[0] for row in _rows(sections, "containers")}
        used |= {row[1] for row in _rows(sections, "others")}
        brought = dict.fromkeys((row[0], row[1]) for row in _rows(sections, "record"))
        return tuple(
            BroughtImage(reference, id_, int(there[id_][0]), tuple(there[id_][1:]), id_ in used)
            for reference, id_ in brought
            if id_ in there
        )


def _rows(sections: dict[str, list[str]], name: str) -> list[list[str]]:
    return [line.split() for line in sections.get(name, [])]
