"""What a deployment's operations do to hosts that have another one.

Nothing is run: what the commands say is done to a list of what runs on each host. It is as strict
as Docker and vLLM are: a port has one owner, and shares of a GPU's memory do not exceed it. Where
memory is tight, a host has as much as its engines may use before or after, and not more.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

from pyinfra.context import ctx_host

from deploy.artefacts import Artefacts
from deploy.facts.engine import Resources
from deploy.facts.files import Contents
from deploy.facts.units import Units, UnitsState
from deploy.images.reference import familiar
from deploy.live.inspect import live_container
from deploy.operations import orphan, replica_changes, units
from deploy.operations.drained import DrainedCommand
from deploy.operations.file_tree import _wanted
from deploy.operations.script import ScriptCommand
from deploy.operations.together import TogetherCommand
from deploy.operations.unit_changes import host_changes
from deploy.operations.whole_replica import WholeCommand
from deploy.services import Holds, Unit
from deploy.tasks import units as tasks
from tests.fake_host import image_id, inspect_row
from tests.operations.found import live_service
from tests.operations.harness import FakeHost, run, words

CONVERGED, REMOVED = units.converged, orphan.removed
STARTING = {"replace", "relieve", "start", "restart"}
WHOLE = 1.0 + 1e-6
ENGINES = ("llama-cpp", "ollama", "sglang", "vllm")


@dataclass
class Hosts:
    """What runs on each host, and what went wrong."""

    running: dict[str, dict[str, Holds]]
    memory_bytes: Mapping[str, int]
    """Memory of each host; 0 where there is enough."""
    started: set[tuple[str, str]] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def stop(self, host: str, names: Iterable[str]) -> None:
        for name in names:
            self.running[host].pop(name, None)

    def start(self, unit: Unit) -> None:
        others = {k: v for k, v in self.running[unit.host].items() if k != unit.name}
        for name, holds in others.items():
            if holds.ports & unit.holds.ports:
                self.problems.append(f"{unit.name} wants a port that {name} has")
        for index, share in unit.holds.gpus.items():
            if share + sum(each.gpus.get(index, 0.0) for each in others.values()) > WHOLE:
                self.problems.append(f"{unit.name} finds no room on GPU {index} of {unit.host}")
        engines = [holds.memory_bytes for name, holds in others.items() if is_engine(name)]
        most = self.memory_bytes[unit.host] or sys.maxsize
        if is_engine(unit.name) and sum(engines) + unit.holds.memory_bytes > most:
            self.problems.append(f"{unit.name} finds no room in the memory of {unit.host}")
        self.running[unit.host][unit.name] = unit.holds
        if (unit.host, unit.name) in self.started:
            self.problems.append(f"{unit.name} starts twice")
        self.started.add((unit.host, unit.name))


def is_engine(name: str) -> bool:
    """Whether a unit of the deployment ``demo`` is an engine."""
    return name.startswith(tuple(f"demo-{engine}-" for engine in ENGINES))


def carry_out(before: Artefacts, after: Artefacts, *, is_tight: bool = False) -> list[str]:
    """What goes wrong where a deployment becomes another one; hosts are told by their addresses.

    Args:
        before: what runs.
        after: what it becomes.
        is_tight: whether hosts have no more memory than engines need before or after.
    """
    seen = _seen(before, after, is_tight=is_tight)
    hosts = Hosts(
        {name: {u.name: u.holds for u in s.everything} for name, s in seen.items()},
        {name: state.memory_bytes for name, state in seen.items()},
    )
    changing = {
        (name, unit)
        for name, state in seen.items()
        for unit, each in host_changes(after, name, state).units.items()
        if each.starts_anew
    }
    # of what stays the share may be another, where engines are not told it
    for unit in after.stack.units:
        if unit.name in hosts.running[unit.host] and (unit.host, unit.name) not in changing:
            hosts.running[unit.host][unit.name] = unit.holds
    decided = replica_changes.decide_for(after, seen)
    steps = [step for name in seen for step in _steps(after, name, seen[name], decided)]
    for _, name, operation, arguments in sorted(steps, key=lambda step: step[0]):
        facts: dict[Any, Any] = {Units: seen[name], Contents: {}, Resources: {}}
        for command in run(operation, FakeHost(facts, name=name), **arguments).commands:
            for each in _flat(command):
                _do(each, name, after, hosts)
    for name in seen:
        wanted = {unit.name for unit in after.stack.on(name)}
        if hosts.running[name].keys() != wanted:
            hosts.problems.append(f"on {name} {sorted(hosts.running[name])} run, not {wanted}")
    left = changing - hosts.started
    return [*hosts.problems, *(f"{unit} on {name} stays as it was" for name, unit in sorted(left))]


def away_together(before: Artefacts, after: Artefacts) -> list[str]:
    """Units that serve the same on several hosts, and are replaced at the same time."""
    seen = _seen(before, after, is_tight=False)
    decided = replica_changes.decide_for(after, seen)
    away: dict[tuple[Any, ...], set[str]] = {}
    for name, state in seen.items():
        facts: dict[Any, Any] = {Units: state, Contents: {}, Resources: {}}
        for place, _, operation, arguments in _steps(after, name, state, decided):
            done = run(operation, FakeHost(facts, name=name), **arguments)
            for unit in _replaced(done.commands, after.stack.on(name), state):
                # without a turn, all hosts go through a tier at the same time
                moment = place[:3] if place[1:2] == (True,) else place[:1]
                away.setdefault((moment, unit.serves), set()).add(name)
    return [f"{serves} on {sorted(on)}" for (_, serves), on in away.items() if on > {min(on)}]


def _replaced(commands: Iterable[Any], units: Iterable[Unit], state: UnitsState) -> Iterator[Unit]:
    """Units that are there and that commands stop."""
    there = {live.name for live in state.everything}
    for command in (each for one in commands for each in _flat(one)):
        if isinstance(command, ScriptCommand) and not isinstance(command, WholeCommand):
            action, names, *_ = words(command)
            stopped = names.split(",") if action in {"replace", "swap"} else []
            yield from (unit for unit in units if unit.name in there.intersection(stopped))


def _least(state: UnitsState, wanted: Iterable[Unit]) -> int:
    """What a host must have for its engines before, and for those after."""
    before = [live.holds.memory_bytes for live in state.everything if is_engine(live.name)]
    after = [unit.holds.memory_bytes for unit in wanted if is_engine(unit.name)]
    return max(sum(before), sum(after))


def _seen(before: Artefacts, after: Artefacts, *, is_tight: bool) -> dict[str, UnitsState]:
    """What a look finds on each host of the deployment that is to come."""
    there = {_address(before, host.name): host.name for host in before.spec.hosts}
    uses = [use for made in (before, after) for use in made.images.values()]
    images = {familiar(u.image.reference): image_id(u.image.reference) for u in uses}
    seen = {
        host.name: _state(before, there.get(_address(after, host.name), ""), images)
        for host in after.spec.hosts
    }
    least = {name: _least(state, after.stack.on(name)) for name, state in seen.items()}
    return {
        name: replace(state, memory_bytes=least[name] if is_tight else 0)
        for name, state in seen.items()
    }


def _address(artefacts: Artefacts, host: str) -> str:
    spec = artefacts.host(host)
    return spec.address or spec.name


def _state(artefacts: Artefacts, host: str, images: Mapping[str, str]) -> UnitsState:
    own = artefacts.stack.on(host)
    containers = [live_container(inspect_row(u, artefacts)) for u in own if u.image_name]
    trees = [unit.config for unit in own if unit.config]
    return UnitsState(
        containers={each.name: each for each in containers},
        services={u.name: live_service(artefacts, u.name) for u in own if not u.image_name},
        images=dict(images),
        releases={
            str(tree.directory): {
                name: _wanted(file, artefacts.secrets) for name, file in tree.files.items()
            }
            for tree in trees
        },
        changed_at={str(tree.directory): 0.0 for tree in trees},
    )


class _Looping(FakeHost):
    def loop(self, items: Iterable[Any]) -> Iterator[Any]:
        """As pyinfra's host does, but for the order of operations."""
        return iter(items)


Step = tuple[tuple[Any, ...], str, Any, dict[str, Any]]


def _steps(
    after: Artefacts, name: str, state: UnitsState, decided: replica_changes.ReplicaChanges
) -> list[Step]:
    """The operations of a host that change units, each with its place among those of all."""
    steps: list[Step] = []
    facts: dict[Any, Any] = {Units: state}

    def converged(**arguments: Any) -> None:
        said = arguments.pop("name")
        turns = [host.name for host in after.spec.hosts].index(name)
        place = (arguments["tier"].position, bool(arguments["rolling"]), turns, said)
        steps.append((place, name, CONVERGED, arguments))

    def removed(**arguments: Any) -> None:
        del arguments["name"]
        steps.append(((99,), name, REMOVED, arguments))

    with (
        mock.patch.object(units, "converged", converged),
        mock.patch.object(orphan, "removed", removed),
        mock.patch.object(replica_changes, "decide", return_value=decided),
        mock.patch.object(tasks, "barrier"),
        mock.patch.object(tasks, "routing"),
        ctx_host.use(_Looping(facts, name=name)),
    ):
        tasks.converge(after)
    return steps


def _flat(command: Any) -> Iterator[Any]:
    """The commands in a command, in an order in which they may run."""
    if isinstance(command, TogetherCommand):
        yield from (each for lane in command.lanes for one in lane for each in _flat(one))
    else:
        yield command.command if isinstance(command, DrainedCommand) else command


def _do(command: Any, host: str, after: Artefacts, hosts: Hosts) -> None:
    """What a command does to what runs."""
    if isinstance(command, WholeCommand):
        for part in command.parts:
            hosts.stop(part.unit.host, part.names)
        for part in command.parts:
            for name in part.runs:
                hosts.start(_unit(after, part.unit.host, name))
    elif isinstance(command, ScriptCommand):
        action, names, *more = words(command)
        hosts.stop(host, names.split(",") if action in {*STARTING, "swap", "remove"} else ())
        more = [word for word in more if not word.startswith("keep=")]
        for name in more[1::2] if action == "swap" else [names] if action in STARTING else []:
            hosts.start(_unit(after, host, name))


def _unit(artefacts: Artefacts, host: str, name: str) -> Unit:
    return next(unit for unit in artefacts.stack.on(host) if unit.name == name)
