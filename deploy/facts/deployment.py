"""Everything on a host that belongs to a deployment."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from pyinfra.api import FactBase

from deploy.facts.engine import ENGINE_ANSWERS
from deploy.facts.model_store import RECORDS
from deploy.facts.sections import split_sections
from deploy.services.container import LABEL_DEPLOYMENT, LABEL_SERVICE
from deploy.services.host_service import SERVICES, data_directory
from deploy.services.ollama import IMAGE as OLLAMA


@dataclass(frozen=True)
class Belongings:
    """Names of what a deployment has on a host."""

    containers: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    """Services without a container, and what an interrupted change left of them."""
    kinds: tuple[str, ...] = ()
    """Name of each of these, and what it is, e.g. ``demo-litellm-0 litellm``."""
    data: tuple[str, ...] = ()
    """Directory with the data of those."""
    networks: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    releases: tuple[str, ...] = ()
    """Directories of configuration releases."""
    directory: tuple[str, ...] = ()
    """The deployment's own directory, if there is one."""
    models: tuple[str, ...] = ()
    """Name of a container and of a model that Atelier made in it, with a space between them."""
    unanswering_engine: tuple[str, ...] = ()
    """Not empty if there is Docker, but it does not answer."""


class Deployment(FactBase[Belongings]):
    """The containers, services, networks, volumes and configuration of a deployment."""

    def command(self, deployment: str, directory: str) -> str:
        """Print sections of names.

        Args:
            deployment: name of the deployment.
            directory: the deployment's own directory on the host.
        """
        label = shlex.quote(f"label={LABEL_DEPLOYMENT}={deployment}")
        path = shlex.quote(directory)
        mark, data = shlex.quote(f"Deployment={deployment}"), str(data_directory(deployment))
        return "; ".join(
            [
                f"echo '@directory'; [ ! -d {path} ] || echo {path}",
                f"echo '@releases'; [ ! -d {path}/config ] || "
                f"find {path}/config -mindepth 2 -maxdepth 2 -type d",
                f"echo '@services'; grep -lsxF {mark} {SERVICES}/*/unit {SERVICES}/*/marks | "
                'while read -r unit; do name=${unit%/*} name=${name##*/}; echo "$name"; '
                'echo "@kinds"; sed -n "s/^Service=/$name /p" "$unit"; echo \'@services\'; done',
                f"echo '@data'; [ ! -d {shlex.quote(data)} ] || echo {shlex.quote(data)}",
                "command -v docker >/dev/null 2>&1 || exit 0",
                f"{{ {ENGINE_ANSWERS}; }} || {{ echo '@unanswering_engine'; echo yes; exit 0; }}",
                f"rows=$(docker container ls --all --filter {label} "
                f"--format '{{{{.Names}}}} {{{{.Label \"{LABEL_SERVICE}\"}}}}') || exit 1",
                "echo '@kinds'; echo \"$rows\"",
                "echo '@containers'; echo \"$rows\" | sed 's/ .*//'",
                f"echo '@models'; echo \"$rows\" | sed -n 's/ {OLLAMA}$//p' | {RECORDS}",
                f"echo '@networks'; docker network ls --filter {label} --format '{{{{.Name}}}}'",
                f"echo '@volumes'; docker volume ls --filter {label} --format '{{{{.Name}}}}'",
            ]
        )

    @staticmethod
    def default() -> Belongings:
        """A host that has nothing of it."""
        return Belongings()

    def process(self, output: list[str]) -> Belongings:
        """Parse the sections."""
        sections = {name: tuple(sorted(rows)) for name, rows in split_sections(output).items()}
        return Belongings(**sections)
