"""Everything about one component on a host, in one round trip."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field

from pyinfra.api import FactBase

from deploy.drift import LiveContainer
from deploy.facts.engine import UNLESS_ENGINE
from deploy.facts.model_store import ModelStore, look_at_models, parse_models
from deploy.facts.sections import split_sections
from deploy.live.inspect import live_container

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


@dataclass(frozen=True)
class FileState:
    """A file as the host has it."""

    mode: int
    sha256: str


@dataclass(frozen=True)
class ComponentState:
    """One component on a host."""

    containers: dict[str, LiveContainer] = field(default_factory=dict)
    """The component's container and what an interrupted run left of it, by name."""
    image_id: str | None = None
    """Id of the wanted image, if the host has it."""
    releases: dict[str, dict[str, FileState]] = field(default_factory=dict)
    """Files of each release of its configuration, by release and file name."""
    release_changed_at: float = 0
    """When the wanted release was written, in seconds since the epoch."""
    models: ModelStore = field(default_factory=ModelStore)
    """What is in the store of its engine, if it has one."""


class Component(FactBase[ComponentState]):
    """The containers, image and configuration files of one component."""

    def command(  # noqa: PLR0913, PLR0917
        self,
        container: str,
        image: str,
        config_root: str = "",
        release: str = "",
        model_volume: str = "",
        model_home: str = "",
    ) -> str:
        """Print sections of JSON rows and of file listings."""
        name = shlex.quote(f"^/{re.escape(container)}(\\.next|\\.previous)?$")
        parts = [
            UNLESS_ENGINE,
            "echo '@containers'",
            f"ids=$(docker container ls --all --quiet --no-trunc --filter name={name}) || exit 1",
            f'[ -z "$ids" ] || docker container inspect --format {shlex.quote(INSPECT)} $ids',
            "echo '@image'",
            f"docker image inspect --format '{{{{.Id}}}}' {shlex.quote(image)} 2>/dev/null",
        ]
        if config_root:
            root, wanted = shlex.quote(config_root), shlex.quote(f"{config_root}/{release}")
            parts += [
                f"echo '@changed_at'; stat -c %Y {wanted} 2>/dev/null",
                # a release that only its owner can enter is of no use to the user in a container
                f"echo '@files'; [ ! -d {root} ] || find {root} -mindepth 1 -maxdepth 2 "
                "-type d ! -perm -005 -prune -o -type f "
                "-exec stat -c %a {} \\; -exec sha256sum {} \\;",
            ]
        if model_volume:
            parts.append(look_at_models(container, model_volume, image, model_home))
        return "; ".join([*parts, "true"])

    @staticmethod
    def default() -> ComponentState:
        """A host that has nothing of it."""
        return ComponentState()

    def process(self, output: list[str]) -> ComponentState:
        """Parse the sections."""
        sections = split_sections(output)
        containers = [live_container(json.loads(row)) for row in sections.get("containers", [])]
        changed_at = sections.get("changed_at", [])
        return ComponentState(
            containers={container.name: container for container in containers},
            image_id=next(iter(sections.get("image", [])), None),
            releases=_releases(sections.get("files", [])),
            release_changed_at=float(changed_at[0]) if changed_at else 0,
            models=parse_models(sections),
        )


def _releases(lines: list[str]) -> dict[str, dict[str, FileState]]:
    """Pairs of lines, mode and ``sha256sum`` output, by release and file name."""
    releases: dict[str, dict[str, FileState]] = {}
    for mode, checksum in zip(lines[::2], lines[1::2], strict=True):
        digest, _, path = checksum.partition("  ")
        release, filename = path.rsplit("/", 2)[-2:]
        releases.setdefault(release, {})[filename] = FileState(int(mode, 8), digest)
    return releases
