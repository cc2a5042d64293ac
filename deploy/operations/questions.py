"""What is asked of a host: the same words for the one look and for each operation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pyinfra.api import FactBase

from deploy.artefacts import Artefacts
from deploy.facts.daemon import ROOT
from deploy.facts.data_files import DataFiles
from deploy.facts.docker import Docker
from deploy.facts.drivers import Drivers
from deploy.facts.engine import Resources
from deploy.facts.files import PathStates
from deploy.facts.gpus import Gpus
from deploy.facts.host import Host
from deploy.facts.images import Images
from deploy.facts.look import Question
from deploy.facts.mac import Mac, MacHost
from deploy.facts.people import People
from deploy.facts.proofs import Proofs
from deploy.facts.routing import Routing
from deploy.facts.units import Units
from deploy.facts.weights import Wanted, Weights
from deploy.hosts.downloads import downloads_on
from deploy.hosts.drivers.proof import proofs
from deploy.hosts.state import HostState
from deploy.hosts.subject import Subject
from deploy.images import ImageUse, RegistryAccess
from deploy.images.reference import address_of
from deploy.operations.image_source import ImagePlace
from deploy.plan.service_plans import EntryPlan, RouterPlan
from deploy.services import HostModelFile, HostWeights, Tier, Unit
from deploy.services.context import LIVE
from deploy.services.routes import router_names
from deploy.spec import HostSpec, WebUISpec
from deploy.tls.pair import ENTRY_CERTIFICATE


def questions(artefacts: Artefacts, host: str) -> Iterator[Question]:
    """Everything that a deployment asks of one host."""
    subject = subject_of(artefacts, host)
    yield Question.of(host_fact(subject.spec), **host_question(artefacts.plan.name, subject))
    if subject.spec.is_mac:
        yield Question.of(Mac, **mac_question(subject.spec))
    else:
        yield Question.of(Docker)
    if subject.has_gpus and not subject.spec.is_mac:
        yield Question.of(Gpus)
        yield Question.of(Drivers)
    if is_proven(artefacts, host):
        yield Question.of(Proofs, directory=str(subject.directory))
    if data := data_question(subject):
        yield Question.of(DataFiles, **data)
    uses, place = artefacts.images_on(host), image_place(artefacts, host)
    yield Question.of(Images, **images_question(uses, place, artefacts.registries))
    yield Question.of(Resources)
    yield from _files(artefacts.stack.on(host))
    for cache, wanted in by_cache(subject.weights).items():
        yield Question.of(Weights, cache=cache, wanted=wanted)
    yield Question.of(Units, **units_question(artefacts, host))
    if sends_requests(artefacts, host):
        yield Question.of(Routing, **routing_question(artefacts, host))
    if artefacts.plan.people is not None and host == artefacts.plan.router.host:
        yield from _people(artefacts)


def _people(artefacts: Artefacts) -> Iterator[Question]:
    """Who has keys, asked of each router."""
    for router in artefacts.plan.routers:
        yield Question.of(People, **people_question(artefacts, router))


def _files(units: Iterable[Unit]) -> Iterator[Question]:
    """Programs and model files that units need."""
    for unit in units:
        if unit.program:
            yield Question.of(PathStates, paths=[str(unit.program.path)])
        for file in unit.model_files:
            yield Question.of(PathStates, paths=model_paths(file))


def subject_of(artefacts: Artefacts, host: str) -> Subject:
    """A host as it is declared, and what is to run there and elsewhere."""
    entry, secrets = artefacts.plan.entry, artefacts.secrets
    # what an authority issued is not here, but on the host
    has_entry = entry is not None and entry.host == host and entry.spec.acme is None
    is_own = entry is not None and entry.spec.has_own_authority
    return Subject(
        spec=artefacts.host(host),
        units=artefacts.stack.on(host),
        images=artefacts.images_on(host),
        downloads=downloads_on(host, artefacts.context),
        directory=artefacts.context.directory(host),
        elsewhere=tuple(unit for unit in artefacts.stack.units if unit.host != host),
        certificate=secrets.value(ENTRY_CERTIFICATE) if has_entry else "",
        own_certificates=secrets.certificates if has_entry and is_own else None,
        main_router=artefacts.plan.router.setting,
        router_settings=_router_settings(artefacts, host),
        web_ui=_with_logins(artefacts, host),
        login_authorities=artefacts.context.login_authorities,
        link_certificates=tuple(_link_certificates(artefacts, host)),
        **_issued(entry if entry and entry.host == host else None),
    )


def _router_settings(artefacts: Artefacts, host: str) -> dict[int, str]:
    """Where the routers of a host are declared, by their ports."""
    if artefacts.plan.router.host != host:
        return {}
    return {router.port: path for path, router in artefacts.spec.router_settings()}


def _with_logins(artefacts: Artefacts, host: str) -> WebUISpec | None:
    """The web UI of a host, if people log in to it with accounts of the site."""
    web_ui = artefacts.plan.web_ui
    is_here = web_ui is not None and web_ui.host == host and web_ui.spec.has_site_logins
    return web_ui.spec if web_ui and is_here else None


def _link_certificates(artefacts: Artefacts, host: str) -> Iterator[tuple[str, bool]]:
    """What the ends of links on a host have so far, and whether that is renewed."""
    plan, own = artefacts.plan.links, artefacts.secrets.links
    for end in plan.certified if plan and own else ():
        if own and end.host == host and not own.is_new:
            before = own.previous.get(end.key)
            yield (before or own.pairs[end.key]).certificate, before is not None


def _issued(entry: EntryPlan | None) -> dict[str, Any]:
    """What an authority issues for the entry of a host."""
    if entry is None or entry.spec.acme is None:
        return {}
    acme = entry.spec.acme
    return {"issued_for": entry.names, "authority_url": "" if acme.ca_file else acme.directory}


def is_proven(artefacts: Artefacts, host: str) -> bool:
    """Whether containers of a host are asked for its cards: where its driver is looked after."""
    return artefacts.host(host).driver is not None and any(proofs(artefacts.stack.on(host)))


def host_fact(spec: HostSpec) -> type[FactBase[HostState]]:
    """What is asked about a host itself, with the tools that its system has."""
    return MacHost if spec.is_mac else Host


def mac_question(spec: HostSpec) -> dict[str, Any]:
    """What is asked about a Mac."""
    haproxy = spec.every_program["haproxy"].path or ""
    return {"account": spec.service_user or "", "haproxy": str(haproxy)}


def host_question(deployment: str, subject: Subject) -> dict[str, Any]:
    """What is asked about a host itself, and about the places where things are put there."""
    return {
        "deployment": deployment,
        "directory": str(subject.spec.directory),
        "files": subject.paths,
        "docker_root": str(subject.spec.docker_settings.get("data-root", ROOT)),
        "weights": subject.weights_cache,
    }


def data_question(subject: Subject) -> dict[str, Any]:
    """What is asked about the data of a host's units; nothing if no unit's say their version."""
    files = tuple(
        (unit.name, str(file.path), file.volume, str(file.volume_path))
        for unit in subject.units
        if (file := unit.data_file)
    )
    return {"files": files} if files else {}


def by_cache(weights: Iterable[HostWeights]) -> dict[str, tuple[Wanted, ...]]:
    """Repositories and revisions, by the cache that they must be in."""
    caches: dict[str, tuple[Wanted, ...]] = {}
    for each in weights:
        pair = (each.repository, each.revision)
        caches[str(each.cache)] = (*caches.get(str(each.cache), ()), pair)
    return caches


def model_paths(file: HostModelFile) -> list[str]:
    """A model file, in all its parts, and the directory that they are in."""
    return [str(file.path.parent), *(str(path) for _, path in file.parts)]


def units_question(artefacts: Artefacts, host: str) -> dict[str, Any]:
    """What is asked about the units of a host."""
    units = artefacts.stack.on(host)
    return {
        "deployment": artefacts.plan.name,
        "directory": str(artefacts.context.directory(host)),
        "names": tuple(unit.name for unit in units),
        "stores": tuple(
            (unit.name, unit.models[0].volume, _image(unit), str(unit.models[0].home))
            for unit in units
            if unit.models
        ),
    }


def _image(unit: Unit) -> str:
    """The image that it runs in; empty of one that runs without."""
    return unit.container.image if unit.runs.kind == "container" else ""


def sends_requests(artefacts: Artefacts, host: str) -> bool:
    """Whether a router or the entry is on a host."""
    return any(unit.tier in {Tier.ROUTER, Tier.ENTRY} for unit in artefacts.stack.on(host))


def routing_question(artefacts: Artefacts, host: str) -> dict[str, Any]:
    """What is asked about what they were told."""
    return {"directory": str(artefacts.context.directory(host) / LIVE)}


def people_question(artefacts: Artefacts, router: RouterPlan) -> dict[str, Any]:
    """What is asked of a router about people."""
    return {"containers": router_names(artefacts.context, router), "router": router.spec.kind}


def images_question(
    uses: Iterable[ImageUse], place: ImagePlace, registries: Mapping[str, RegistryAccess]
) -> dict[str, Any]:
    """What is asked about images and about the certificates of registries."""
    return {
        "record": place.record,
        "files": [str(registry.ca_path) for registry in trusted_registries(uses, registries)],
    }


def trusted_registries(
    uses: Iterable[ImageUse], registries: Mapping[str, RegistryAccess]
) -> list[RegistryAccess]:
    """Registries with a certificate of their own that images are pulled from."""
    addresses = dict.fromkeys(address_of(use.image.reference) for use in uses if use.is_pulled)
    used = [registries[address] for address in addresses if address in registries]
    return [registry for registry in used if registry.ca]


def image_place(artefacts: Artefacts, host: str) -> ImagePlace:
    """Where a deployment keeps what it needs for images on a host."""
    return ImagePlace(artefacts.context.directory(host), artefacts.host(host).is_local)
