"""What the operator declares, validated."""

from deploy.spec.acme import AcmeSpec, ExternalAccountSpec
from deploy.spec.aristote import AristoteSpec
from deploy.spec.deployment import DeploymentSpec
from deploy.spec.driver import DriverSpec
from deploy.spec.engine import EngineSpec
from deploy.spec.entry import EntrySpec
from deploy.spec.host import HostSpec
from deploy.spec.image import ImageSpec
from deploy.spec.ldap import LdapSpec
from deploy.spec.links import LinksSpec
from deploy.spec.model import ModelSpec
from deploy.spec.oidc import OidcSpec
from deploy.spec.people import LimitsSpec, PersonSpec, TeamSpec
from deploy.spec.program import ProgramSpec
from deploy.spec.registry import RegistrySpec
from deploy.spec.router import PriceSpec, RouterSpec
from deploy.spec.secrets import EnvironmentValue, SecretName, SecretSource, SecretText
from deploy.spec.speculative import SpeculativeSpec
from deploy.spec.stores import PostgresSpec, ValkeySpec
from deploy.spec.web_ui import WebUISpec

__all__ = [
    "AcmeSpec",
    "AristoteSpec",
    "DeploymentSpec",
    "DriverSpec",
    "EngineSpec",
    "EntrySpec",
    "EnvironmentValue",
    "ExternalAccountSpec",
    "HostSpec",
    "ImageSpec",
    "LdapSpec",
    "LimitsSpec",
    "LinksSpec",
    "ModelSpec",
    "OidcSpec",
    "PersonSpec",
    "PostgresSpec",
    "PriceSpec",
    "ProgramSpec",
    "RegistrySpec",
    "RouterSpec",
    "SecretName",
    "SecretSource",
    "SecretText",
    "SpeculativeSpec",
    "TeamSpec",
    "ValkeySpec",
    "WebUISpec",
]
