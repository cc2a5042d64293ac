"""Atelier deploys self-hosted coding assistants.

These are the words of an inventory file; everything else is in the subpackages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploy.lazy import export_lazily

if TYPE_CHECKING:
    from deploy.inventory import (
        Deployment,
        Engine,
        Host,
        Image,
        Model,
        Router,
        Secret,
        WebUI,
        inventory,
    )

__all__ = [
    "Deployment",
    "Engine",
    "Host",
    "Image",
    "Model",
    "Router",
    "Secret",
    "WebUI",
    "inventory",
]

export_lazily(__name__, dict.fromkeys(__all__, "deploy.inventory"))
