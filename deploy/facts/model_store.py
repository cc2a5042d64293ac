"""What is in the store of an Ollama, in a container or on a Mac."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field

from deploy.scripts import read_script
from deploy.services.host_files import MODELS_RECORD
from deploy.services.ollama_model import HOME

RECORDS = (
    f'while read -r c; do docker cp "$c:{HOME / MODELS_RECORD}" - 2>/dev/null '
    '| tar -xO 2>/dev/null | sed "s/ .*//; s/^/$c /"; done'
)
"""Shell: the models that Atelier wrote down in Ollama containers, running or not, whose names it
reads."""


@dataclass(frozen=True)
class MadeModel:
    """A model as it was made, by Atelier."""

    source: str
    """What it was made from; ``-`` of one that was not finished."""
    digest: str
    """Digest of its manifest at that time."""


@dataclass(frozen=True)
class ModelStore:
    """The models of one container."""

    made: dict[str, MadeModel] = field(default_factory=dict)
    """What Atelier made, by name."""
    digests: dict[str, str] = field(default_factory=dict)
    """Digests of the manifests that are there, by their path."""
    loaded: frozenset[str] = frozenset()
    """Names of the models in memory."""


def look_at_models(container: str, volume: str, image: str, home: str) -> str:
    """Shell command that prints the sections; of a container that does not run, from its volume."""
    arguments = shlex.join(["look", container, volume, image, home])
    return f"sh -c {shlex.quote(read_script('ollama.sh'))} atelier {arguments}"


def parse_models(sections: dict[str, list[str]]) -> ModelStore:
    """The sections as one value."""
    made = [line.split() for line in sections.get("record", [])]
    manifests = [line.split(maxsplit=1) for line in sections.get("manifests", [])]
    return ModelStore(
        made={name: MadeModel(source, digest) for name, source, digest in made},
        digests={path.removeprefix("./"): digest for digest, path in manifests},
        # below a line of headings
        loaded=frozenset(line.split()[0] for line in sections.get("loaded", [])[1:]),
    )
