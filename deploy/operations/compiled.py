"""What an engine compiled, carried to a new replica on another host before it first starts."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from pyinfra import host
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS, pop_global_arguments
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.host import Host
from pyinfra.api.state import State

from deploy.artefacts import Artefacts
from deploy.changes.change import ABSENT, Change, FieldChange
from deploy.changes.compiled import HostOffers, Offer, chosen, new_caches, offering
from deploy.facts import look
from deploy.facts.compiled import Compiled
from deploy.facts.units import Units
from deploy.hosts.ssh import CONNECTION_ERRORS
from deploy.local_file import read_local_file
from deploy.operations.change import announce
from deploy.operations.commands import Commands
from deploy.operations.copy import CopyCommand
from deploy.operations.everywhere import ask_everywhere
from deploy.operations.lock import changes_host
from deploy.operations.questions import units_question
from deploy.operations.script import ScriptCommand
from deploy.services import Unit
from deploy.units import MB

SCRIPT = "compiled.sh"


def offers(artefacts: Artefacts) -> tuple[HostOffers, ...]:
    """What the replicas of every host have compiled; nothing if no replica is new.

    It is decided once in a run, for all hosts, from what serves before anything is changed.
    """
    if not carries(artefacts) or not any(ask_everywhere(_New(artefacts))):
        return ()
    return tuple(ask_everywhere(_Offers(artefacts)))


def carries(artefacts: Artefacts) -> bool:
    """Whether replicas of several hosts could load the same."""
    volumes: dict[str, set[str]] = {}
    for unit in artefacts.stack.units:
        if unit.compiled:
            volumes.setdefault(unit.compiled.volume, set()).add(unit.host)
    return any(len(hosts) > 1 for hosts in volumes.values())


@changes_host
def carried(artefacts: Artefacts, found: tuple[HostOffers, ...]) -> Commands:
    """New replicas find what one on another host, with the same cards, has compiled.

    That saves time and nothing else: where it cannot be carried, the engine compiles itself.

    Args:
        artefacts: the deployment.
        found: what the replicas of every host have compiled.
    """
    pairs = _pairs(artefacts, found) if found else ()
    for unit, offer in pairs:
        announce(_change(offer))
        yield CarryCommand(unit, offer, artefacts)
    if not pairs:
        host.noop("nothing that was compiled is to be carried")


def _pairs(artefacts: Artefacts, found: tuple[HostOffers, ...]) -> list[tuple[Unit, Offer]]:
    """The new replicas of the current host, each with what it is given."""
    live = look.ask(Units, **units_question(artefacts, host.name)).containers
    own = next(each for each in found if each.host == host.name)
    every = [offer for each in found for offer in each.offers]
    new = new_caches(artefacts.stack.on(host.name), live)
    return [(unit, offer) for unit in new if (offer := chosen(unit, own.machine, every))]


def _change(offer: Offer) -> Change:
    source = f"{offer.unit.name} on {offer.host}, {offer.size_bytes / MB:.0f} MB"
    return Change(f"volume {offer.volume}", "fill", (FieldChange("compiled by", ABSENT, source),))


class CarryCommand(PyinfraCommand):
    """Packs a cache on one host, and unpacks it in the volume of another, by way of this machine.

    Args:
        unit: the new replica.
        offer: what it is given.
        artefacts: the deployment.
    """

    def __init__(self, unit: Unit, offer: Offer, artefacts: Artefacts) -> None:
        super().__init__()
        assert unit.compiled is not None  # noqa: S101 - see new_caches
        self._unit, self._cache, self._offer = unit, unit.compiled, offer
        self._deployment = artefacts.plan.name
        name = f"{self._cache.volume}.tar.gz"
        self._there = artefacts.context.directory(offer.host) / name
        self._here = artefacts.context.directory(unit.host) / name

    def __repr__(self) -> str:
        return f"CarryCommand({self._cache.volume}, {self._offer.host}, {self._unit.host})"

    def execute(self, state: State, host: Host, connector_arguments: Any) -> bool:
        """Carry it, and say so where that was not possible."""
        with tempfile.TemporaryDirectory() as directory:
            local = Path(directory) / self._here.name
            try:
                fetched = self._fetch(state, host, local)
                carried = fetched and self._bring(state, host, local, dict(connector_arguments))
            except (*CONNECTION_ERRORS, ConnectError):
                carried = False
        if not carried:
            host.log(
                f"{self._cache.volume} could not be carried: {self._unit.name} compiles itself"
            )
        return True

    def _fetch(self, state: State, host: Host, local: Path) -> bool:
        other = state.inventory.get_host(self._offer.host)
        if other not in state.active_hosts:
            return False
        given, _ = pop_global_arguments(state, other, {})
        own = {key: value for key, value in given.items() if key in CONNECTOR_ARGUMENT_KEYS}
        host.log(f"{self._cache.volume}: {self._offer.size_bytes / MB:.0f} MB of {other.name}")
        pack = self._script("pack", self._offer.unit.name, str(self._there))
        try:
            packed, _ = pack.execute(state, other, dict(own))
            return packed and other.get_file(str(self._there), str(local), **own)
        finally:
            self._script("forget", str(self._there)).execute(state, other, dict(own))

    def _bring(self, state: State, host: Host, local: Path, own: dict[str, Any]) -> bool:
        copy = CopyCommand(read_local_file(local), self._here, self._cache.volume)
        if not copy.execute(state, host, dict(own)):
            return False
        image = self._unit.container.image
        place = (self._cache.volume, image, self._deployment)
        unpacked, _ = self._script("unpack", *place, str(self._here)).execute(state, host, own)
        return unpacked

    def _script(self, action: str, *arguments: str) -> ScriptCommand:
        return ScriptCommand(
            *(SCRIPT, action, str(self._cache.directory), *arguments),
            redact=str,
            progress=f"{self._cache.volume}: carrying what was compiled",
        )


class _New:
    """Whether the current host has a replica that has compiled nothing yet."""

    def __init__(self, artefacts: Artefacts) -> None:
        self._artefacts = artefacts

    def __call__(self) -> bool:
        """The answer, from what was seen of the host already."""
        live = look.ask(Units, **units_question(self._artefacts, host.name)).containers
        return any(new_caches(self._artefacts.stack.on(host.name), live))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _New)

    def __hash__(self) -> int:
        return hash(_New)


class _Offers:
    """The current host's machine, and what its replicas have compiled."""

    def __init__(self, artefacts: Artefacts) -> None:
        self._artefacts = artefacts

    def __call__(self) -> HostOffers:
        """The answer, with the sizes of what there is."""
        live = look.ask(Units, **units_question(self._artefacts, host.name)).containers
        units = offering(self._artefacts.stack.on(host.name), live)
        asked = [(unit.name, str(unit.compiled.directory)) for unit in units if unit.compiled]
        found = host.get_fact(Compiled, containers=asked)
        own = tuple(
            Offer(
                host=unit.host,
                unit=unit,
                image=str(spec["image"]),
                command=tuple(spec["command"]),
                machine=found.machine,
                size_bytes=found.sizes.get(unit.name, 0),
            )
            for unit in units
            if (spec := live[unit.name].spec)
        )
        return HostOffers(host.name, found.machine, own)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Offers)

    def __hash__(self) -> int:
        return hash(_Offers)
