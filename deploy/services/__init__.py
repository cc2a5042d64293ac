"""From a plan to containers and files: one module per deployed system."""

from deploy.services.container import ContainerSpec
from deploy.services.container_parts import HealthCheck, Mount, Port
from deploy.services.context import ResolvedImage, ServiceContext
from deploy.services.host_files import (
    CompileCache,
    ConfigFile,
    ConfigTree,
    HostModelFile,
    HostWeights,
    StoredModel,
)
from deploy.services.launchd import LaunchdSpec
from deploy.services.program import HostProgram
from deploy.services.runs import Marks
from deploy.services.stack import Stack, make_stack
from deploy.services.systemd import SystemdSpec
from deploy.services.unit import Holds, Route, Tier, Unit

__all__ = [
    "CompileCache",
    "ConfigFile",
    "ConfigTree",
    "ContainerSpec",
    "HealthCheck",
    "Holds",
    "HostModelFile",
    "HostProgram",
    "HostWeights",
    "LaunchdSpec",
    "Marks",
    "Mount",
    "Port",
    "ResolvedImage",
    "Route",
    "ServiceContext",
    "Stack",
    "StoredModel",
    "SystemdSpec",
    "Tier",
    "Unit",
    "make_stack",
]
