"""Which secrets a deployment has, and the values of those that come from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from deploy.errors import AtelierError, collecting, raise_together
from deploy.secrets.store import ALWAYS, SecretStore
from deploy.secrets.store_urls import require_database_url, require_redis_url
from deploy.secrets.values import (
    require_base64url,
    require_one_line,
    require_plain,
    require_usable,
    resolve,
)
from deploy.spec import DeploymentSpec, SecretName, SecretSource
from deploy.spec.base import Spec
from deploy.spec.ldap import LDAP_BIND_PASSWORD
from deploy.spec.oidc import OIDC_CLIENT_SECRET
from deploy.tls.pair import EXTERNAL_ACCOUNT_KEY


def load_secrets(spec: DeploymentSpec, directory: Path) -> SecretStore:
    """Resolve the declared secrets and read the kept ones.

    Args:
        spec: the deployment.
        directory: what relative paths are relative to.

    Raises:
        SecretError: with one problem per secret that has no usable value.
    """
    declared: dict[SecretName, str] = {}
    passwords: dict[str, str] = {}
    errors: list[AtelierError] = []
    for name, source in spec.secrets.items():
        with collecting(errors):
            declared[name] = resolve(source, directory, f"secrets.{name}")
            require_usable(name, declared[name], f"secrets.{name}")
            if spec.router_of("aristote") and name is SecretName.ENGINE_API_KEY:
                require_plain(declared[name], f"secrets.{name}")
    for index, registry in enumerate(spec.registries):
        if registry.password:
            with collecting(errors):
                setting = f"registries[{index}].password"
                passwords[registry.address] = resolve(registry.password, directory, setting)
                require_usable(None, passwords[registry.address], setting)
    others = {}
    for setting, source in _environment_secrets(spec):
        with collecting(errors):
            others[source.name] = resolve(source, directory, setting)
            require_usable(None, others[source.name], setting)
    known = (*_store_urls(spec), *_external_account(spec), *_logins(spec))
    for setting, source, require in known:
        with collecting(errors):
            others[setting] = require(resolve(source, directory, setting), setting)
    raise_together(errors)
    path = directory / (spec.secrets_file or Path(".secrets") / f"{spec.name}.yaml")
    return SecretStore(path, declared, passwords, others, needed_secrets(spec))


def needed_secrets(spec: DeploymentSpec) -> frozenset[SecretName]:
    """The deployment's own secrets that it does not do without."""
    names = set(ALWAYS)
    if spec.router_of("aristote"):
        names.add(SecretName.RABBITMQ_PASSWORD)
    if spec.postgres:
        if spec.router_of("litellm"):
            names.add(SecretName.ROUTER_SALT_KEY)
        if spec.postgres.has_router:
            names.add(SecretName.ROUTER_DATABASE_PASSWORD)
        if spec.web_ui and spec.postgres.has_web_ui:
            names.add(SecretName.WEB_UI_DATABASE_PASSWORD)
    if spec.valkey and spec.valkey.url is None:
        names.add(SecretName.VALKEY_PASSWORD)
    return frozenset(names)


def _store_urls(
    spec: DeploymentSpec,
) -> Iterator[tuple[str, SecretSource, Callable[[str, str], str]]]:
    """The declared addresses of stores: setting, which is also the secret's name, and a check."""
    if spec.postgres and (source := spec.postgres.router_database_url):
        yield "postgres.router_database_url", source, require_database_url
    if spec.postgres and (source := spec.postgres.web_ui_database_url):
        # SQLAlchemy's name of psycopg 3, which every image of the web UI has
        require = partial(require_database_url, scheme="postgresql+psycopg")
        yield "postgres.web_ui_database_url", source, require
    if spec.valkey and spec.valkey.url:
        yield "valkey.url", spec.valkey.url, require_redis_url


def _external_account(
    spec: DeploymentSpec,
) -> Iterator[tuple[str, SecretSource, Callable[[str, str], str]]]:
    """The key that an ACME authority knows the site by, if it is declared."""
    if spec.entry and spec.entry.acme and (account := spec.entry.acme.external_account):
        yield EXTERNAL_ACCOUNT_KEY, account.hmac, require_base64url


def _logins(
    spec: DeploymentSpec,
) -> Iterator[tuple[str, SecretSource, Callable[[str, str], str]]]:
    """What the web UI is known by where people log in."""
    web_ui = spec.web_ui
    if web_ui and web_ui.oidc:
        yield OIDC_CLIENT_SECRET, web_ui.oidc.client_secret, require_one_line
    if web_ui and web_ui.ldap and (password := web_ui.ldap.bind_password):
        yield LDAP_BIND_PASSWORD, password, require_one_line


def _environment_secrets(spec: DeploymentSpec) -> Iterator[tuple[str, SecretSource]]:
    """Every secret that an environment variable is declared with, and the setting it is in."""
    engines = [(f"models[{i}].engine", model.engine) for i, model in enumerate(spec.models)]
    parts: list[tuple[str, Spec | None]] = [
        *(("engine", spec.engine), *spec.router_settings(), ("web_ui", spec.web_ui), *engines),
        ("entry.acme", spec.entry.acme if spec.entry else None),
    ]
    for path, part in parts:
        for name, value in getattr(part, "env", {}).items():
            if isinstance(value, SecretSource):
                yield f"{path}.env.{name}", value
