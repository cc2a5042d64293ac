"""From a plan to containers and files: one module per deployed system."""

from deploy.services.container import ContainerSpec, HealthCheck, Mount, Port
from deploy.services.context import ResolvedImage, ServiceContext
from deploy.services.stack import Stack, make_stack
from deploy.services.unit import (
    ConfigFile,
    ConfigTree,
    Holds,
    HostModelFile,
    HostWeights,
    StoredModel,
    Tier,
    Unit,
)

__all__ = [
    "ConfigFile",
    "ConfigTree",
    "ContainerSpec",
    "HealthCheck",
    "Holds",
    "HostModelFile",
    "HostWeights",
    "Mount",
    "Port",
    "ResolvedImage",
    "ServiceContext",
    "Stack",
    "StoredModel",
    "Tier",
    "Unit",
    "make_stack",
]
