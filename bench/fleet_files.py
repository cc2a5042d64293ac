"""The files of every host of a fleet; pyinfra runs fleet_deploy.py anew for each of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from deploy import Deployment
from deploy.artefacts import make_artefacts
from deploy.services import ConfigTree, HostModelFile


@cache
def files(directory: Path) -> tuple[HostModelFile, ConfigTree]:
    """The model file and the router's configuration of a deployment on this machine.

    Args:
        directory: where its secrets are kept.
    """
    demo = Deployment(
        name="bench",
        profile="individual",
        hosts=[{"name": "@local"}],
        models=[{"name": "tiny-coder"}],
    )
    units = make_artefacts(demo, directory).stack.units
    model = next(item.model_file for item in units if item.model_file)
    return model, next(item.config for item in units if item.config)
