"""Everything about the units of a deployment on a host."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field

from pyinfra.api import FactBase

from deploy.changes.live import Live, LiveContainer, LiveService
from deploy.facts.engine import CONTAINER, ENGINE, ENGINE_ANSWERS, of_deployment, show
from deploy.facts.images import ids_by_name
from deploy.facts.look import words
from deploy.facts.memory import look_at_memory, parse_memory
from deploy.facts.model_store import RECORDS, ModelStore, look_at_models, parse_models
from deploy.facts.sections import first, split_sections
from deploy.facts.services import look_at_services, parse_services, split_services
from deploy.facts.system import IS_MAC
from deploy.images.reference import listed
from deploy.live.inspect import live_container
from deploy.services.context import LIVE
from deploy.services.ollama import IMAGE as OLLAMA

TOOLS = (
    f"if {IS_MAC}; then "
    'changed="stat -L -f %m_%N --" mode="stat -L -f %Lp_%N --" digest="shasum -a 256"; '
    'else changed="stat -c %Y_%n" mode="stat -c %a_%n" digest=sha256sum; fi'
)
"""Shell: what prints when a file was changed, its mode and its sha256, with each system's tools."""


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
    services: dict[str, LiveService] = field(default_factory=dict)
    """The deployment's services, and others with the names that it wants, by name."""
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
    told: tuple[str, ...] = ()
    """Directories of what services read whenever it changes, such as the engines' keys."""
    memory_bytes: int = 0
    """Memory installed in the host; 0 where it does not say."""

    @property
    def everything(self) -> tuple[Live, ...]:
        """All that is live, in whatever it runs."""
        return (*self.containers.values(), *self.services.values())

    def image_id(self, reference: str) -> str | None:
        """Id of an image, if the host has it."""
        return self.images.get(listed(reference))


class Units(FactBase[UnitsState]):
    """The containers, services, images, configuration files and model stores of a deployment."""

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
            names: names of the wanted units.
            stores: name, volume, image and home of each engine that keeps models; without a
                container, volume and image are empty.
        """
        config, live = shlex.quote(f"{directory}/config"), shlex.quote(f"{directory}/{LIVE}")
        others = "".join(f" -e {shlex.quote(name)}" for name in names) or " -e ''"
        return "; ".join(
            [
                f"{ENGINE}\n{look_at_memory()}",
                f"{TOOLS}; if [ -d {config} ]; then "
                f"echo '@directories'; {_find(config, 'd', '$changed')}; "
                f"echo '@modes'; {_find(config, 'f', '$mode')}; "
                f"echo '@files'; {_find(config, 'f', '$digest')}; fi",
                f"echo '@told'; [ ! -d {live} ] || find {live} -mindepth 1 -maxdepth 1 -type d",
                look_at_services(deployment, names),
                f"if {{ {ENGINE_ANSWERS}; }}; then "
                f'rows=$(echo "$atelier_rows" | sed -n "s/ {deployment} / /p")',
                'own=$(echo "$rows" | cut -d " " -f 1 | tr "\\n" " ")',
                f"echo '@now'; date +%s; "
                f"echo '@containers'; {of_deployment('container', deployment)}",
                f"set --; for name in {words(names)}; do "
                'case " $own" in *" $name "*) ;; *) set -- "$@" "$name" ;; esac; done; '
                "[ $# = 0 ] || "
                f'docker container inspect --format {shlex.quote(CONTAINER)} "$@" 2>/dev/null',
                f"echo '@images'; {show('images')}",
                f'echo \'@models\'; echo "$rows" | sed -n "s/ {OLLAMA}\\$//p" | '
                f"grep -vxF{others} | {RECORDS}",
                *(_store(each) for each in stores if each[2]),
                "true; fi",
                *(_store(each) for each in stores if not each[2]),
                "true",
            ]
        )

    @staticmethod
    def default() -> UnitsState:
        """A host that has nothing of it."""
        return UnitsState()

    def process(self, output: list[str]) -> UnitsState:
        """Parse the sections."""
        output, services = split_services(output)
        output, stores = _split_stores(output)
        sections = split_sections(output)
        now = float(first(sections.get("now"), "0"))
        containers = [
            live_container(json.loads(row), now) for row in sections.get("containers", [])
        ]
        directories = [row.split("_", 1) for row in sections.get("directories", [])]
        return UnitsState(
            containers={container.name: container for container in containers},
            services=parse_services(services),
            images=ids_by_name(sections.get("images", [])),
            releases=_releases(sections, [path for _, path in directories]),
            changed_at={
                path: float(seconds)
                for seconds, path in directories
                # written while the clock was ahead: what started since would never be newer
                if not now or float(seconds) <= now + 1
            },
            stores={name: parse_models(split_sections(lines)) for name, lines in stores.items()},
            other_models=tuple(_pair(row) for row in sections.get("models", [])),
            told=tuple(sorted(sections.get("told", []))),
            memory_bytes=parse_memory(sections),
        )


def _store(store: tuple[str, str, str, str]) -> str:
    """Shell: what is in the store of an engine."""
    return f"echo {shlex.quote('@store ' + store[0])}; {look_at_models(*store)}"


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
