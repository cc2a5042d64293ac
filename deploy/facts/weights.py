"""Weights of Hugging Face in the cache of a host."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field

from pyinfra.api import FactBase

from deploy.facts.sections import first, split_sections
from deploy.hub import Answer, HubFile, read_answer
from deploy.scripts import read_script

Wanted = tuple[str, str]
"""Repository and revision."""


@dataclass(frozen=True)
class WeightsState:
    """One revision of a repository, as the host has it."""

    commit: str = ""
    """What the revision stands for there; empty if it was never completed."""
    files: tuple[HubFile, ...] = ()
    """What belongs to it."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Sizes of the files that are in place, by path."""
    ref: str = ""
    """What an engine that asks for the revision finds."""
    blobs: dict[str, int] = field(default_factory=dict)
    """What has come of any revision of the repository: sizes by name."""
    revisions: tuple[str, ...] = ()
    """The revisions of the repository that were completed."""

    def is_complete(self, revision: str) -> bool:
        """Whether everything is there: digests were compared when it came."""
        named = self.ref if revision != self.commit else self.commit
        whole = all(self.sizes.get(file.path) == file.size_bytes for file in self.files)
        return bool(self.commit) and named == self.commit and whole

    def there_bytes(self, files: Iterable[HubFile]) -> int:
        """How much has come of these files."""
        named = {file.blob: file.size_bytes for file in files}
        return sum(min(self._came(blob), size) for blob, size in named.items())

    def has(self, file: HubFile) -> bool:
        """Whether the content of a file is there as a whole."""
        return self.blobs.get(file.blob) == file.size_bytes

    def _came(self, blob: str) -> int:
        return self.blobs.get(blob) or self.blobs.get(f"{blob}.part", 0)


class Weights(FactBase[dict[Wanted, WeightsState]]):
    """Revisions of repositories in one cache."""

    def command(self, cache: str, wanted: tuple[Wanted, ...]) -> str:
        """Print sections for each of them.

        Args:
            cache: directory of the host with the cache.
            wanted: repositories and revisions.
        """
        return _script("look", cache, *(part for pair in wanted for part in pair))

    @staticmethod
    def default() -> dict[Wanted, WeightsState]:
        """Nothing is there."""
        return {}

    def process(self, output: list[str]) -> dict[Wanted, WeightsState]:
        """Parse the sections."""
        states: dict[Wanted, list[str]] = {}
        current: list[str] = []
        for line in output:
            if line.startswith("@weights "):
                _, repository, revision = line.split(" ")
                current = states.setdefault((repository, revision), [])
            else:
                current.append(line)
        return {wanted: _state(split_sections(lines)) for wanted, lines in states.items()}


@dataclass(frozen=True)
class OldWeights:
    """One revision in a cache, whoever brought it."""

    repository: str
    record: str
    """Name of its record: the revision, and ``.begun`` after it where something is missing."""
    commit: str
    files: tuple[HubFile, ...]

    @property
    def revision(self) -> str:
        """The revision."""
        return self.record.removesuffix(".begun")


@dataclass(frozen=True)
class CachedWeights:
    """Everything in a cache."""

    weights: tuple[OldWeights, ...] = ()
    commands: tuple[tuple[str, ...], ...] = ()
    """The command of every container on the host, whether or not it runs."""


class AllWeights(FactBase[CachedWeights]):
    """Every revision in one cache, and the containers that may load one."""

    def command(self, cache: str) -> str:
        """Print sections."""
        return _script("all", cache)

    @staticmethod
    def default() -> CachedWeights:
        """Nothing is there."""
        return CachedWeights()

    def process(self, output: list[str]) -> CachedWeights:
        """Parse the sections."""
        sections = split_sections(output)
        commands = [json.loads(line) or [] for line in sections.get("commands", [])]
        weights = []
        for title, lines in sections.items():
            if title.startswith("record ") and lines:
                folder, _, record = title.removeprefix("record ").partition("/")
                organisation, _, name = folder.partition("--")
                files = _files(lines[1:])
                weights.append(OldWeights(f"{organisation}/{name}", record, lines[0], files))
        return CachedWeights(tuple(weights), tuple(tuple(command) for command in commands))


class HubAnswer(FactBase[Answer]):
    """What the hub answers the host; the token and proxies are on standard input."""

    def command(self, method: str, url: str) -> str:
        """Print the answer."""
        script = shlex.quote(read_script("hub.sh"))
        return f"sh -c {script} atelier {method} {shlex.quote(url)}"

    @staticmethod
    def default() -> Answer:
        """No answer."""
        return Answer(failure="no answer")

    def process(self, output: list[str]) -> Answer:
        """Parse it."""
        return read_answer("\n".join(output))


def _script(*arguments: str) -> str:
    return f"sh -c {shlex.quote(read_script('weights.sh'))} atelier {shlex.join(arguments)}"


def _state(sections: dict[str, list[str]]) -> WeightsState:
    record = sections.get("record", [])
    return WeightsState(
        commit=first(record),
        files=_files(record[1:]),
        sizes=_sizes(sections.get("sizes", [])),
        ref=first(sections.get("ref")),
        blobs=_sizes(sections.get("blobs", [])),
        revisions=tuple(sorted(sections.get("revisions", []))),
    )


def _files(rows: list[str]) -> tuple[HubFile, ...]:
    split = [row.split(" ", 2) for row in rows]
    return tuple(HubFile(path, int(size), blob) for size, blob, path in split)


def _sizes(rows: list[str]) -> dict[str, int]:
    return {name: int(size) for size, _, name in (row.partition(" ") for row in rows)}
