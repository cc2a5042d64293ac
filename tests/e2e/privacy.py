"""What `atelier verify --privacy` finds of a deployment."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.site import MASTER_KEY, Site


def look_for_leaks(site: Site, status: int = 0) -> dict[str, Any]:
    """Its answer; nothing is shown of what stands around what it finds.

    Args:
        site: where the deployment is.
        status: what it must end with.
    """
    found = site.atelier("verify", "--privacy", "--json")
    assert found.returncode == status, found.stdout + found.stderr
    assert MASTER_KEY not in found.stdout
    return dict(json.loads(found.stdout))


def searched(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The places that were searched, by kind and name."""
    return {f"{row['kind']} {row['name']}": row for row in answer["places"]}
