"""What every host is asked about itself, with the tools that Linux and macOS both have."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from deploy.facts.known_secrets import look_at_known_secrets, parse_known_secrets
from deploy.facts.places import parse_blocked, parse_places, parse_sizes
from deploy.facts.sections import first
from deploy.facts.services import look_at_holds
from deploy.spec.host import deployment_directory


def look_at_common(deployment: str, directory: str) -> list[str]:
    """Shell commands that print sections: what services hold, known secrets, the clock.

    Args:
        deployment: name of the deployment.
        directory: where files are put on the host; it need not exist yet.
    """
    own = deployment_directory(PurePosixPath(directory), deployment)
    return [
        f"echo '@own_holds'; {look_at_holds(deployment)}",
        look_at_known_secrets(deployment, str(own)),
        "echo '@clock'; date +%s",
    ]


def parse_common(sections: dict[str, list[str]]) -> dict[str, Any]:
    """Fields of the host's state that those sections, and those of places and sizes, describe."""
    clock = first(sections.get("clock"))
    return {
        "file_systems": parse_places(sections),
        "blocked_by": parse_blocked(sections),
        "file_sizes": parse_sizes(sections),
        "clock_seconds": float(clock) if clock else None,
        "known_secrets": parse_known_secrets(sections),
    }
