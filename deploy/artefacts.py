"""From a spec to everything that a deployment consists of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from deploy.catalog import load_catalog
from deploy.certificates import (
    provide_certificate,
    provide_link_certificates,
    read_acme_authorities,
    read_login_authorities,
    read_site_pair,
)
from deploy.errors import PlanError, Problem
from deploy.images import ImageUse, RegistryAccess, make_registries, resolve_images
from deploy.model_files import read_model_files
from deploy.plan.deployment_plan import DeploymentPlan
from deploy.plan.make_plan import make_plan
from deploy.programs import read_programs
from deploy.secrets import SecretStore, load_secrets
from deploy.services import ServiceContext, Stack, make_stack
from deploy.services.names import name_problems
from deploy.spec import DeploymentSpec, HostSpec


@dataclass(frozen=True)
class Artefacts:
    """What is declared, what follows from it, and the secrets that belong to it."""

    spec: DeploymentSpec
    plan: DeploymentPlan
    context: ServiceContext
    stack: Stack
    images: dict[str, ImageUse]
    """The images that the stack uses, by catalogue name."""
    secrets: SecretStore
    registries: dict[str, RegistryAccess]
    """What hosts need to pull from the declared registries, by address."""

    def images_on(self, host: str) -> tuple[ImageUse, ...]:
        """The images of a host's units."""
        names = {unit.image_name for unit in self.stack.on(host) if unit.image_name}
        return tuple(use for name, use in self.images.items() if name in names)

    def host(self, name: str) -> HostSpec:
        """How a host is declared."""
        return next(host for host in self.spec.hosts if host.name == name)


def make_artefacts(spec: DeploymentSpec, directory: Path) -> Artefacts:
    """Plan a deployment and render its containers and files.

    Args:
        spec: the deployment.
        directory: what relative paths in it are relative to.

    Raises:
        AtelierError: if it cannot be carried out as declared.
    """
    catalog = load_catalog()
    plan = make_plan(spec, catalog, read_model_files(spec, catalog, directory), directory)
    images = resolve_images(spec, catalog, directory)
    site = read_site_pair(plan.entry, directory) if plan.entry else None
    context = ServiceContext(
        plan=plan,
        images={name: use.image for name, use in images.items()},
        directories={host.name: host.directory for host in spec.hosts},
        site_certificate=site.certificate if site else "",
        acme_authorities=read_acme_authorities(plan.entry, directory) if plan.entry else "",
        login_authorities=read_login_authorities(plan.web_ui, directory) if plan.web_ui else {},
        huggingface_endpoint=spec.huggingface_endpoint,
        weights_sources={host.name: host.weights for host in spec.hosts},
        programs=read_programs(spec, directory),
        service_users={host.name: host.service_user for host in spec.hosts if host.service_user},
    )
    stack = make_stack(context)
    problems = name_problems(stack.units)
    if problems:
        raise PlanError(*problems)
    names = [unit.image_name for unit in stack.units if unit.image_name]
    used = {name: images[name] for name in names}
    _require_recipes(used)
    _require_archives(used)
    secrets = load_secrets(spec, directory)
    if site:
        secrets.serve_with(site)
    elif plan.entry:
        provide_certificate(plan.name, plan.entry, secrets, datetime.now(UTC))
    if plan.links:
        provide_link_certificates(plan.name, plan.links, secrets, datetime.now(UTC))
    return Artefacts(
        spec=spec,
        plan=plan,
        context=context,
        stack=stack,
        images=used,
        secrets=secrets,
        registries=make_registries(spec, secrets.registry_passwords, directory),
    )


def _require_recipes(images: dict[str, ImageUse]) -> None:
    """Engines on GPUs are only pulled."""
    names = [name for name, use in images.items() if use.source == "build" and not use.build]
    if names:
        raise PlanError(
            *(
                Problem(
                    f"images.{name}",
                    f"image_source is 'build', but {name} is not built here",
                    "pull",
                    f"declare images={{{name!r}: Image(source='pull')}}",
                )
                for name in names
            )
        )


def _require_archives(images: dict[str, ImageUse]) -> None:
    """Images that are loaded are in their archives."""
    problems = [problem for use in images.values() for problem in use.problems]
    if problems:
        raise PlanError(*problems)
