"""What a host answers on which a deployment runs, as its container engine would print it.

Built from the arguments that containers are created with, not from the descriptions that the
operations compare.
"""

from __future__ import annotations

import hashlib
import json
import re
from itertools import pairwise
from typing import Any

from deploy.artefacts import Artefacts
from deploy.fingerprint import make_fingerprint
from deploy.services import Component

Responses = dict[str, list[str]]

ENGINE = ["@engine", '"24.0.5"', "@engine_error", "@memory", "64000000000", "@disk", " 99000000000"]
"""A machine with a container engine and room."""
DOCKER = [
    "@dockerd",
    "/usr/sbin/dockerd",
    "@info",
    '{"version":"24.0.5","running":3,"swarm":"inactive"}',
]
"""Its Docker, which somebody else installed."""
BARE_ENGINE = ["@engine", "@engine_error", "sh: 1: docker: not found", *ENGINE[3:]]
"""A machine with room and no container engine."""
BARE_DOCKER = [
    *("@os", "ID=debian", 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"'),
    *("VERSION_CODENAME=bookworm", "@uid", "0", "@systemd", "yes", "@dockerd", "@info"),
]
"""A fresh Debian, seen by root."""


def inspect_row(component: Component, artefacts: Artefacts, **state: str) -> dict[str, Any]:
    """A healthy container as ``docker container inspect`` describes it."""
    arguments = component.container.create_arguments(artefacts.plan.name, artefacts.secrets.digest)
    flags: dict[str, list[str]] = {}
    for flag, value in pairwise(arguments[: arguments.index(component.container.image)]):
        flags.setdefault(flag, []).append(value)
    return {
        "Name": f"/{component.container.name}",
        "Image": image_id(component.container.image),
        "State": {
            "Status": "running",
            "StartedAt": "2025-03-01T10:20:30.123456789Z",
            "Health": {"Status": "healthy"},
        }
        | state,
        "HostConfig": {
            "RestartPolicy": {"Name": flags["--restart"][0], "MaximumRetryCount": 0},
            "Memory": int(flags["--memory"][0]),
        },
        "NetworkSettings": {"Networks": {flags["--network"][0]: {"IPAddress": "172.18.0.3"}}},
        "Config": {
            "Image": component.container.image,
            "Labels": dict(label.split("=", 1) for label in flags["--label"]),
        },
    }


def image_id(reference: str) -> str:
    """Some id for an image."""
    return f"sha256:{hashlib.sha256(reference.encode()).hexdigest()}"


LOCK = {"atelier hold": ['{"lock":"taken","now":1,"record":null}']}
"""The lock is free."""


def fresh() -> Responses:
    """A host with a container engine and nothing else."""
    return {"@engine": ENGINE, "@dockerd": DOCKER} | LOCK


def bare() -> Responses:
    """A fresh Debian host."""
    return {"@engine": BARE_ENGINE, "@dockerd": BARE_DOCKER} | LOCK


def converged(artefacts: Artefacts) -> Responses:
    """A host on which everything runs as wanted."""
    name = artefacts.plan.name
    components = artefacts.stack.components
    label = json.dumps({"io.atelier.deployment": name})
    volumes = [
        mount.source
        for component in components
        for mount in component.container.mounts.values()
        if mount.kind == "volume"
    ]
    trees = [component.config for component in components if component.config]
    files = [component.model_file for component in components if component.model_file]
    return {
        **LOCK,
        "@engine": [*ENGINE, "@fingerprint", make_fingerprint(artefacts.secrets)],
        "@dockerd": DOCKER,
        **{_containers(component): _component(component, artefacts) for component in components},
        "for image in": [
            "@images",
            *(
                f"{use.image.reference} {image_id(use.image.reference)}"
                for use in artefacts.images.values()
            ),
        ],
        "docker network inspect": [
            f'["network {name}",{label}]',
            *(f'["volume {volume}",{label}]' for volume in volumes),
        ],
        **{f"stat -c %s {file.path}": [str(file.source.size_bytes)] for file in files},
        "@releases": [
            "@directory",
            str(artefacts.context.directory(components[0].host)),
            "@releases",
            *(str(tree.directory) for tree in trees),
            "@containers",
            *(component.container.name for component in components),
            "@networks",
            name,
            "@volumes",
            *volumes,
        ],
    }


def _containers(component: Component) -> str:
    """What only the command of this component's fact contains."""
    return f"^/{re.escape(component.container.name)}("


def _component(component: Component, artefacts: Artefacts) -> list[str]:
    lines = [
        "@containers",
        json.dumps(inspect_row(component, artefacts)),
        "@image",
        image_id(component.container.image),
    ]
    if component.config:
        lines += ["@changed_at", "1000", "@files"]
        for name, file in component.config.files.items():
            digest = hashlib.sha256(file.content.encode()).hexdigest()
            lines += [f"{file.mode:o}", f"{digest}  {component.config.directory}/{name}"]
    return lines
