"""What a plan says of models that share an Ollama.

How it loads and unloads: ``processPending`` and ``load`` in server/sched.go of Ollama, and
https://docs.ollama.com/faq.
"""

from __future__ import annotations

from collections.abc import Iterator

from deploy.plan.deployment_plan import HostPlan
from deploy.plan.replica_plan import ReplicaPlan
from deploy.plan.shared import beside
from deploy.spec import EngineSpec

ROOM_SHARE = 0.8
"""Of the memory that is free on GPUs: a further model that takes more is loaded in the place of
another one (``Scheduler.load``)."""


def takes_turns(engine: EngineSpec, others: tuple[str, ...]) -> str:
    """What happens to a request more where other models are loaded."""
    if len(others) < engine.most_loaded:
        return ""
    return "; while others are loaded, every request waits until one of them has no requests"


def why_shared(engine: EngineSpec, others: tuple[str, ...]) -> Iterator[str]:
    """Who is beside a model, and what that means for its first request."""
    if engine.shared is None:
        return
    with_them = f" with {', '.join(others)}" if others else ""
    yield (
        f"in the Ollama {engine.shared!r}{with_them}: the first request to a model that is not"
        f" loaded waits for its load; {_stays(engine, others)}"
    )


def _stays(engine: EngineSpec, others: tuple[str, ...]) -> str:
    """How long a model stays loaded."""
    if engine.keep_alive == "0":
        return "it is unloaded after each answer (keep_alive 0)"
    until = []
    if engine.keep_alive != "-1":
        until.append(f"no one has asked it for {engine.keep_alive}")
    if len(others) >= engine.most_loaded:
        until.append("another one needs its place")
    how = f" until {' or '.join(until)}" if until else ""
    return f"it stays loaded{how} (keep_alive {engine.keep_alive})"


def shared_warnings(
    hosts: tuple[HostPlan, ...], replicas: tuple[ReplicaPlan, ...]
) -> Iterator[str]:
    """Who waits for whom, and models that Ollama may not keep side by side."""
    seen = set()
    for replica in replicas:
        engine, group = replica.engine, beside(replica, replicas)
        if engine.shared is None or engine.shared in seen:
            continue
        seen.add(engine.shared)
        if len(group) > engine.most_loaded:
            names = ", ".join(each.served_model_name for each in group)
            yield (
                f"{engine.shared}: {names} take turns in one Ollama, which has"
                f" {engine.most_loaded} of them loaded at a time: who asks for another one waits"
                " until a loaded one has no requests, and for the load; the people answered at once"
                " are those of a loaded model, and do not add up"
            )
        yield from _one_after_the_other(hosts, group, replicas)


def _one_after_the_other(
    hosts: tuple[HostPlan, ...], group: tuple[ReplicaPlan, ...], replicas: tuple[ReplicaPlan, ...]
) -> Iterator[str]:
    """The largest model, loaded last, next to the largest of the others and to other engines."""
    first, most = group[0], group[0].engine.most_loaded
    sizes = sorted((each.memory.total_gib for each in group if each.memory), reverse=True)[:most]
    if len(sizes) < 2:
        return
    usable = next(host.usable_gib for host in hosts if host.name == first.host)
    others = [each for each in replicas if each not in group and first.host in each.hosts]
    free = min(usable[gpu] * (1 - _share(others, gpu)) for gpu in first.gpus) - sum(sizes[1:])
    if sizes[0] > free * ROOM_SHARE:
        yield (
            f"{first.engine.shared}: Ollama loads a further model only where it takes at most"
            f" {ROOM_SHARE:.0%} of the memory that is free: {sizes[0]:.1f} GiB of {free:.1f} GiB"
            " may be more, and then fewer models are loaded at a time than max_loaded_models says"
        )


def _share(replicas: list[ReplicaPlan], gpu: int) -> float:
    """What engines have of a GPU's memory: those that share one, together."""
    shares = {
        (each.engine.kind, each.engine_name, each.index): each.gpu_memory_utilization or 0.0
        for each in replicas
        if gpu in each.gpus
    }
    return sum(shares.values())
