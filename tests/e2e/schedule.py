"""Who runs which module: those of one deployment are given to one worker, one after the other."""

from __future__ import annotations

from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

ONE_DEPLOYMENT = (
    *("broken_deployments", "changes", "command", "killed_deployments", "redeployment", "secrets"),
)
"""Modules of the same deployment on this machine. Any other module has hosts and names of its own,
and runs beside them."""


def make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    """Gives a worker all modules of a deployment."""
    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = deployment_of
    return scheduler


def deployment_of(nodeid: str) -> str:
    """What one worker is given whole, because it shares a deployment.

    Args:
        nodeid: of a test.
    """
    module = Path(nodeid.partition("::")[0]).stem
    return "here" if module.removeprefix("test_") in ONE_DEPLOYMENT else module
