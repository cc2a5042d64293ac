"""Atelier deploys self-hosted coding assistants.

These are the words of an inventory file; everything else is in the subpackages.
"""

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
