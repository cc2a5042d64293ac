"""What a host answers on which a deployment runs, as its container engine would print it.

Built from the arguments that containers are created with, not from the descriptions that the
operations compare.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from deploy.artefacts import Artefacts
from deploy.operations.questions import questions
from deploy.secrets.fingerprint import make_fingerprint
from deploy.services import ConfigFile, HostModelFile, HostWeights, Unit
from deploy.services.weights import distinct_weights
from deploy.spec import SecretName

Responses = dict[str, list[str]]

PLACES = [
    "@places",
    *(
        f"{place} yes rw,relatime 65024 99000000000 6000000 5000000 /"
        for place in ("directory", "images", "volumes", "temporary")
    ),
]
ENGINE = ["@engine", '"24.0.5"', "@engine_error", "@memory", "64000000000", *PLACES]
"""A machine with a container engine and room."""
DOCKER = [
    "@dockerd",
    "/usr/sbin/dockerd",
    "@info",
    '{"version":"24.0.5","running":3,"swarm":"inactive"}',
]
"""Its Docker, which somebody else installed."""
BARE_ENGINE = ["@engine", "@engine_error", "docker: not found", *ENGINE[3:]]
"""A machine with room and no container engine."""
BARE_DOCKER = [
    *("@os", "ID=debian", 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"'),
    *("VERSION_CODENAME=bookworm", "@uid", "0", "@systemd", "yes", "@dockerd", "@info"),
]
"""A fresh Debian, seen by root."""


def inspect_row(unit: Unit, artefacts: Artefacts, **state: str) -> dict[str, Any]:
    """A healthy container as ``docker container inspect`` describes it."""
    arguments = unit.create_arguments(artefacts.plan.name, artefacts.secrets.digest)
    flags: dict[str, list[str]] = {}
    for flag, value in pairwise(arguments[: arguments.index(unit.container.image)]):
        flags.setdefault(flag, []).append(value)
    return {
        "Name": f"/{unit.container.name}",
        "Image": image_id(unit.container.image),
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
            "Image": unit.container.image,
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


def converged(artefacts: Artefacts, host: str = "") -> Responses:
    """A host on which everything runs as wanted."""
    name = artefacts.plan.name
    units = artefacts.stack.on(host) if host else artefacts.stack.units
    volumes = dict.fromkeys(volume for unit in units for volume in unit.volumes)
    files = [file for unit in units for file in unit.model_files]
    programs = [unit.program for unit in units if unit.program]
    return {
        **LOCK,
        "@engine": [*ENGINE, "@fingerprint", make_fingerprint(artefacts.secrets)],
        "@dockerd": DOCKER,
        "@directories": units_answer(artefacts, units),
        "echo '@record'; cat ": [
            "@images",
            *(
                f"{use.image.reference} {image_id(use.image.reference)}"
                for use in artefacts.images.values()
            ),
        ],
        '"$atelier_volumes"': [
            f"network {name} {name}",
            *(f"volume {volume} {name}" for volume in volumes),
        ],
        "@keys": ["@keys", _engine_key(artefacts)],
        **{f" -- {file.path.parent} ": _model_file(file) for file in files},
        **{f" -- {each.path} 2>": [f"1 755 {each.path}"] for each in programs},
        **_weights(distinct_weights(units)),
    }


def _engine_key(artefacts: Artefacts) -> str:
    """What sha256sum prints of the engines' key."""
    key = artefacts.secrets.value(SecretName.ENGINE_API_KEY)
    return f"{hashlib.sha256(key.encode()).hexdigest()}  -"


COMMIT = "c0" * 20


def _weights(wanted: Sequence[HostWeights]) -> Responses:
    """Every revision is there, with one file."""
    answers: Responses = {}
    for weights in wanted:
        answers.setdefault(f"atelier look {weights.cache} ", []).extend(
            [
                f"@weights {weights.repository} {weights.revision}",
                *("@record", COMMIT, f"5 {'ab' * 20} model.safetensors"),
                *("@ref", COMMIT, "@sizes", "5 model.safetensors", "@revisions", weights.revision),
            ]
        )
    return answers


def _model_file(file: HostModelFile) -> list[str]:
    directory = f"4096 755 {file.path.parent}"
    return [directory, *(f"{part.size_bytes} 644 {path}" for part, path in file.parts)]


def units_answer(artefacts: Artefacts, units: Sequence[Unit], *more: dict[str, Any]) -> list[str]:
    """What a host prints about its units.

    Args:
        artefacts: the deployment.
        units: those that run as wanted.
        more: other containers, as Docker describes them.
    """
    contained = [unit for unit in units if unit.image_name]
    rows = [inspect_row(unit, artefacts) for unit in contained]
    trees = [unit.config for unit in units if unit.config]
    images = {unit.container.image for unit in contained}
    return [
        "@directories",
        *(f"1000_{tree.directory}" for tree in trees),
        "@modes",
        *(
            f"{file.mode:o}_{tree.directory}/{name}"
            for tree in trees
            for name, file in tree.files.items()
        ),
        "@files",
        *(
            f"{hashlib.sha256(_text(file, artefacts)).hexdigest()}  {tree.directory}/{name}"
            for tree in trees
            for name, file in tree.files.items()
        ),
        *(line for unit in units if unit.program for line in _service(unit, artefacts)),
        "@containers",
        *(json.dumps(row) for row in (*rows, *more)),
        "@images",
        *(f"{image} <none>@<none> {image_id(image)}" for image in sorted(images)),
    ]


def _text(file: ConfigFile, artefacts: Artefacts) -> bytes:
    content = file.content
    text = content if isinstance(content, str) else artefacts.secrets.render(content)
    return text.encode()


def _service(unit: Unit, artefacts: Artefacts) -> list[str]:
    """A healthy service as systemd or launchd, and its files, describe it."""
    text, *marks = unit.create_arguments(artefacts.plan.name, artefacts.secrets.digest)
    if marks:
        return [
            f"@service {unit.name}",
            *("ActiveState=active", "UnitFileState=enabled"),
            *("started=1740824430", "now=1740824500", "health=yes"),
            f"unit_sha256={hashlib.sha256(text.encode()).hexdigest()}",
            f"marks_sha256={hashlib.sha256(marks[0].encode()).hexdigest()}",
            *marks[0].splitlines(),
        ]
    environment = unit.runs.secret_environment(artefacts.secrets.render)
    return [
        f"@service {unit.name}",
        *("ActiveState=active", "SubState=running", "UnitFileState=enabled"),
        *("started=1740824430", "now=1740824500", "health=yes"),
        f"unit_sha256={hashlib.sha256(text.encode()).hexdigest()}",
        f"environment_sha256={hashlib.sha256(environment.encode()).hexdigest()}",
        *text.split("[X-Atelier]\n")[1].splitlines(),
    ]


def with_look(artefacts: Artefacts, host: str, responses: Responses) -> Responses:
    """The responses, and the same in answer to the one command that asks everything."""
    lines = []
    for position, question in enumerate(dict.fromkeys(questions(artefacts, host))):
        shell = question.shell
        lines.append(f"@@{position}")
        lines += next((answer for match, answer in responses.items() if match in shell), [])
    return {"@@0": lines} | responses
