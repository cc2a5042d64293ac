"""From a plan to containers and files: one module per deployed system."""

from deploy.services.component import (
    Component,
    ConfigFile,
    ConfigTree,
    HostModelFile,
    StoredModel,
    Tier,
)
from deploy.services.container import ContainerSpec, HealthCheck, Mount, Port
from deploy.services.context import ResolvedImage, ServiceContext
from deploy.services.stack import Stack, make_stack

__all__ = [
    "Component",
    "ConfigFile",
    "ConfigTree",
    "ContainerSpec",
    "HealthCheck",
    "HostModelFile",
    "Mount",
    "Port",
    "ResolvedImage",
    "ServiceContext",
    "Stack",
    "StoredModel",
    "Tier",
    "make_stack",
]
