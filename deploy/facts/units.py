"""Everything about the units of a deployment on a host."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field

from pyinfra.api import FactBase

from deploy.changes.live import LiveContainer
from deploy.facts.engine import UNLESS_ENGINE
from deploy.facts.look import words
from deploy.facts.model_store import ModelStore, look_at_models, parse_models
from deploy.facts.sections import split_sections
from deploy.images.reference import familiar
from deploy.live.inspect import live_container
from deploy.services.container import LABEL_DEPLOYMENT, LABEL_SERVICE
from deploy.services.ollama import IMAGE as OLLAMA
from deploy.services.ollama_model import HOME, RECORD

# What live_container reads of a container; the environment is left out, because it holds secrets.
INSPECT = (
    '{"Name":{{json .Name}},"Image":{{json .Image}},'
    '"State":{"Status":{{json .State.Status}},"StartedAt":{{json .State.StartedAt}},'
    '"Health":{{if .State.Health}}{"Status":{{json .State.Health.Status}}}{{else}}null{{end}}},'
    '"HostConfig":{"RestartPolicy":{{json .HostConfig.RestartPolicy}},'
    '"Memory":{{json .HostConfig.Memory}}},'
    '"NetworkSettings":{"Networks":{{json .NetworkSettings.Networks}}},'
    '"Config":{"Labels":{{json .Config.Labels}}}}'
)
IMAGES = "{{.Repository}}:{{.Tag}} {{.Repository}}@{{.Digest}} {{.ID}}"
RECORDS = (
    f'while read -r c; do docker cp "$c:{HOME / RECORD}" - 2>/dev/null | tar -xO 2>/dev/null '
    '| sed "s/ .*//; s/^/$c /"; done'
)
"""Shell: the models that Atelier wrote down in Ollama containers, running or not."""


@dataclass(frozen=True)
class FileState:
    """A file as the host has it."""

    mode: int
    sha256: str


Files = dict[str, FileState]
"""By path within a release."""


@dataclass(frozen=True)
class UnitsState:
    """The units of a deployment on a host."""

    containers: dict[str, LiveContainer] = field(default_factory=dict)
    """The deployment's containers, and others with the names that it wants, by name."""
    images: dict[str, str] = field(default_factory=dict)
    """Ids of all images, by every name that they have."""
    releases: dict[str, Files] = field(default_factory=dict)
    """Files of each configuration release, by its directory."""
    changed_at: dict[str, float] = field(default_factory=dict)
    """When each release was written, in seconds since the epoch."""
    stores: dict[str, ModelStore] = field(default_factory=dict)
    """What is in the stores of engines that have one, by container."""
    other_models: tuple[tuple[str, str], ...] = ()
    """Containers without a wanted store, and models that Atelier made in them."""

    def image_id(self, reference: str) -> str | None:
        """Id of an image, if the host has it."""
        return self.images.get(familiar(reference))


class Units(FactBase[UnitsState]):
    """The containers, images, configuration files and model stores of a deployment."""

    def command(
        self,
        deployment: str,
        directory: str,
        names: tuple[str, ...],
        stores: tuple[tuple[str, str, str, str], ...] = (),
    ) -> str:
        """Print sections.

        Args:
            deployment: name of the deployment.
            directory: its own directory on the host.
            names: names of the wanted containers.
            stores: container, volume, image and home of each engine that keeps models.
        """
        config = shlex.quote(f"{directory}/config")
        label = shlex.quote(f"label={LABEL_DEPLOYMENT}={deployment}")
        others = "".join(f" -e {shlex.quote(name)}" for name in names) or " -e ''"
        return "; ".join(
            [
                f"if [ -d {config} ]; then "
                f"echo '@directories'; {_find(config, 'd', 'stat -c %Y_%n')}; "
                f"echo '@modes'; {_find(config, 'f', 'stat -c %a_%n')}; "
                f"echo '@files'; {_find(config, 'f', 'sha256sum')}; fi",
                UNLESS_ENGINE,
                f"rows=$(docker container ls --all --filter {label} "
                f"--format '{{{{.Names}}}} {{{{.Label \"{LABEL_SERVICE}\"}}}}') || exit 1",
                'own=$(echo "$rows" | sed "s/ .*//")',
                f"echo '@containers'; set -- $own {words(names)}; [ $# = 0 ] || "
                f'docker container inspect --format {shlex.quote(INSPECT)} "$@" 2>/dev/null',
                f"echo '@images'; docker image ls --no-trunc --digests --format '{IMAGES}'",
                f'echo \'@models\'; echo "$rows" | sed -n "s/ {OLLAMA}\\$//p" | '
                f"grep -vxF{others} | {RECORDS}",
                *(
                    f"echo {shlex.quote('@store ' + store[0])}; {look_at_models(*store)}"
                    for store in stores
                ),
                "true",
            ]
        )

    @staticmethod
    def default() -> UnitsState:
        """A host that has nothing of it."""
        return UnitsState()

    def process(self, output: list[str]) -> UnitsState:
        """Parse the sections."""
        output, stores = _split_stores(output)
        sections = split_sections(output)
        containers = [live_container(json.loads(row)) for row in sections.get("containers", [])]
        directories = [row.split("_", 1) for row in sections.get("directories", [])]
        return UnitsState(
            containers={container.name: container for container in containers},
            images=dict(_images(sections.get("images", []))),
            releases=_releases(sections, [path for _, path in directories]),
            changed_at={path: float(seconds) for seconds, path in directories},
            stores={name: parse_models(split_sections(lines)) for name, lines in stores.items()},
            other_models=tuple(_pair(row) for row in sections.get("models", [])),
        )


def _find(config: str, kind: str, run: str) -> str:
    """Shell: run a command on every release's directory, or on every file of a release."""
    if kind == "d":
        return f"find {config} -mindepth 2 -maxdepth 2 -type d -exec {run} {{}} +"
    # a release that only its owner can enter is of no use to the user in a container
    closed = "-type d ! -perm -005 -prune"
    return f"find {config} -mindepth 1 {closed} -o -type f -exec {run} {{}} +"


def _split_stores(output: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The other lines, and those of each store by its container."""
    rest: list[str] = []
    stores: dict[str, list[str]] = {}
    current = rest
    for line in output:
        if line.startswith("@store "):
            current = stores.setdefault(line.removeprefix("@store "), [])
        else:
            current.append(line)
    return rest, stores


def _images(rows: list[str]) -> Iterator[tuple[str, str]]:
    for row in rows:
        tag, digest, image_id = row.split()
        yield familiar(tag), image_id
        yield familiar(digest), image_id


def _releases(sections: dict[str, list[str]], directories: list[str]) -> dict[str, Files]:
    """Files by their release, from rows of ``mode_path`` and of ``sha256sum``."""
    rows = [row.split("_", 1) for row in sections.get("modes", [])]
    modes = {path: mode for mode, path in rows}
    releases: dict[str, Files] = {path: {} for path in directories}
    for row in sections.get("files", []):
        digest, _, path = row.partition("  ")
        release = next((each for each in directories if path.startswith(f"{each}/")), None)
        if release and path in modes:
            name = path.removeprefix(f"{release}/")
            releases[release][name] = FileState(int(modes[path], 8), digest)
    return releases


def _pair(row: str) -> tuple[str, str]:
    container, _, model = row.partition(" ")
    return container, model
