"""What a look at a host finds of a deployment that runs there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from deploy.artefacts import Artefacts
from deploy.changes.live import LiveContainer, LiveService
from deploy.facts.units import FileState, UnitsState
from deploy.images.reference import familiar
from deploy.services import Holds, Unit

IMAGE_ID = "sha256:1"


def unit_named(artefacts: Artefacts, name: str) -> Unit:
    return next(unit for unit in artefacts.stack.units if unit.name == name)


def live(artefacts: Artefacts, name: str, **differences: Any) -> LiveContainer:
    """A unit's container, running as it is wanted but for the differences."""
    unit = unit_named(artefacts, name)
    as_wanted = LiveContainer(
        name=name,
        image_id=IMAGE_ID,
        state="running",
        health="healthy",
        started_at=2000,
        restart="unless-stopped",
        memory_bytes=unit.container.memory_bytes,
        networks=(artefacts.plan.name,),
        deployment=artefacts.plan.name,
        spec=unit.container.public(artefacts.secrets.digest),
        holds=unit.holds,
        service=unit.container.service,
    )
    return replace(as_wanted, **differences)


def live_service(artefacts: Artefacts, name: str, **differences: Any) -> LiveService:
    """A unit's service, running as it is wanted but for the differences."""
    unit = unit_named(artefacts, name)
    digest = artefacts.secrets.digest
    text, *marks = unit.create_arguments(artefacts.plan.name, digest)
    other = (
        {"marks file": marks[0]}
        if marks
        else {"environment file": unit.runs.secret_environment(artefacts.secrets.render)}
    )
    files = {"unit file": text} | other
    as_wanted = LiveService(
        name=name,
        state="running",
        health="healthy",
        started_at=2000,
        deployment=artefacts.plan.name,
        spec=unit.runs.public(digest),
        holds=unit.holds,
        service=unit.runs.service,
        starts_with_host=True,
        files={
            name: hashlib.sha256(content.encode()).hexdigest() for name, content in files.items()
        },
    )
    return replace(as_wanted, **differences)


def stranger(artefacts: Artefacts, name: str, **differences: Any) -> LiveContainer:
    """A container of the deployment that its plan does not have."""
    some = live(artefacts, artefacts.stack.units[0].name)
    changes: dict[str, Any] = {"name": name, "spec": {}, "holds": Holds()}
    return replace(some, **changes | differences)


def releases(artefacts: Artefacts) -> dict[str, dict[str, FileState]]:
    """The files of all units as they are on a host that has them."""
    return {
        str(unit.config.directory): {
            name: FileState(0o644, hashlib.sha256(str(file.content).encode()).hexdigest())
            for name, file in unit.config.files.items()
        }
        for unit in artefacts.stack.units
        if unit.config
    }


def found(
    artefacts: Artefacts, containers: Iterable[LiveContainer], **differences: Any
) -> UnitsState:
    """A host with these containers, all images and all files, but for the differences."""
    files = releases(artefacts)
    as_wanted = UnitsState(
        containers={container.name: container for container in containers},
        images={familiar(use.image.reference): IMAGE_ID for use in artefacts.images.values()},
        releases=files,
        changed_at=dict.fromkeys(files, 1000.0),
    )
    return replace(as_wanted, **differences)
