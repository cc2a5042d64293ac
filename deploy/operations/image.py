"""Images: on the host before anything is stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import partial

from pyinfra.api import FunctionCommand, QuoteString, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State

from deploy.changes.change import Change
from deploy.errors import ImageBuildError, Problem
from deploy.facts import look
from deploy.facts.images import Images, ImagesState
from deploy.images import (
    ImageBuildPlan,
    ImageUse,
    RegistryAccess,
    build_images,
    engine_problem,
    was_built,
)
from deploy.images.reference import address_of
from deploy.operations.change import announce_all
from deploy.operations.commands import Commands, refuse, show_failure
from deploy.operations.image_source import (
    SCRIPT,
    ImagePlace,
    LoadCommand,
    PullCommand,
    build_and_save,
)
from deploy.operations.lock import changes_host
from deploy.operations.questions import images_question, trusted_registries
from deploy.operations.script import ScriptCommand
from deploy.secrets import SecretStore

NOT_ALLOWED = "permission denied"
"""Part of what Docker says to a user who may not use it."""


@changes_host
def present(
    uses: list[ImageUse],
    place: ImagePlace,
    registries: Mapping[str, RegistryAccess],
    secrets: SecretStore,
) -> Commands:
    """The host has every image: pulled, built on this machine, or loaded from an archive.

    An image built here has a digest of what it is made of for its tag: a host that has the tag
    has the image. Of an archive the id is known, too.

    Args:
        uses: the images.
        place: where archives are put on the host, and images written down.
        registries: logins and certificates, by address.
        secrets: what must not be in any output.
    """
    trusted = trusted_registries(uses, registries)
    found = look.ask(Images, **images_question(uses, place, registries))
    missing = [
        use for use in uses if not use.is_there(found.image_id(use.image.reference), found.loaded)
    ]
    builds = [use.build for use in missing if use.build]
    problem = engine_problem() if builds else ""
    # Docker may be brought here in this run; but it is this user who builds, without sudo
    if problem and (not place.is_local or NOT_ALLOWED in problem):
        yield from refuse(str(_no_engine_here(problem)))
        return
    outdated = [registry for registry in trusted if not _is_trusted(registry, found)]
    announce_all(_trust_change(registry, found) for registry in outdated)
    announce_all(change for use in missing for change in _changes(use, place))
    for registry in outdated:
        yield _trust(registry)
    if builds and place.is_local:
        yield FunctionCommand(_build, (builds,), {})
        yield ScriptCommand(
            *(SCRIPT, "record", place.record, *(build.tag for build in builds)), redact=str
        )
    for use in missing:
        yield from _bring(use, place, registries, secrets)


def _bring(
    use: ImageUse,
    place: ImagePlace,
    registries: Mapping[str, RegistryAccess],
    secrets: SecretStore,
) -> Commands:
    reference = use.image.reference
    if use.archive:
        archive = use.archive.file
        yield LoadCommand(reference, place, lambda _report: archive)
    elif use.build is None:
        registry = registries.get(address_of(reference))
        login = registry.login if registry else ""
        yield PullCommand(reference, place, login, secrets.redact)
    elif not place.is_local:
        yield LoadCommand(reference, place, partial(build_and_save, use.build))


def _changes(use: ImageUse, place: ImagePlace) -> Iterator[Change]:
    resource = f"image {use.image.reference}"
    if use.build is None:
        yield Change(resource, "load" if use.archive else "pull")
        return
    if place.is_local or not was_built(use.build.tag):
        yield Change(resource, "build")
    if not place.is_local:
        yield Change(resource, "copy")


def _is_trusted(registry: RegistryAccess, found: ImagesState) -> bool:
    wanted = hashlib.sha256(registry.ca.encode()).hexdigest()
    return found.digests.get(str(registry.ca_path)) == wanted


def _trust_change(registry: RegistryAccess, found: ImagesState) -> Change:
    path = str(registry.ca_path)
    return Change(f"file {path}", "update" if path in found.digests else "create")


def _trust(registry: RegistryAccess) -> StringCommand:
    """Give Docker's daemon the certificate; it looks for it whenever it pulls."""
    path = registry.ca_path
    new = QuoteString(f"{path}.new")
    return StringCommand(
        *("umask 022; mkdir -p", QuoteString(str(path.parent)), "&&"),
        *("cat >", new, "&&", "mv", new, QuoteString(str(path))),
        _stdin=registry.ca,
    )


def _no_engine_here(problem: str) -> Problem:
    return Problem(
        "image_source",
        f"images are built on this machine, but its Docker cannot be used: {problem}",
        "'pull', 'load', or 'build' where Docker runs on this machine",
        "install and start Docker here, put this user into the group docker, pull the images, or "
        "load them from archives",
    )


def _build(state: State, host: Host, plans: list[ImageBuildPlan]) -> bool:  # noqa: ARG001
    try:
        build_images(plans, report=host.log)
    except ImageBuildError as error:
        show_failure(host, str(error))
        return False
    return True
