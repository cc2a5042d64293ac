"""What the operator declares, validated."""

from deploy.spec.deployment import DeploymentSpec
from deploy.spec.engine import EngineSpec
from deploy.spec.entry import EntrySpec
from deploy.spec.host import HostSpec
from deploy.spec.image import ImageSpec
from deploy.spec.model import ModelSpec
from deploy.spec.people import LimitsSpec, PersonSpec, TeamSpec
from deploy.spec.postgres import PostgresSpec
from deploy.spec.registry import RegistrySpec
from deploy.spec.router import PriceSpec, RouterSpec
from deploy.spec.secrets import EnvironmentValue, SecretName, SecretSource, SecretText
from deploy.spec.valkey import ValkeySpec
from deploy.spec.web_ui import WebUISpec

__all__ = [
    "DeploymentSpec",
    "EngineSpec",
    "EntrySpec",
    "EnvironmentValue",
    "HostSpec",
    "ImageSpec",
    "LimitsSpec",
    "ModelSpec",
    "PersonSpec",
    "PostgresSpec",
    "PriceSpec",
    "RegistrySpec",
    "RouterSpec",
    "SecretName",
    "SecretSource",
    "SecretText",
    "TeamSpec",
    "ValkeySpec",
    "WebUISpec",
]
