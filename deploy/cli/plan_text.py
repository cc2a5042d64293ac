"""A plan for people, in 80 columns; memory bars have colours on a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from rich.text import Text

from deploy.errors import every
from deploy.plan.deployment_plan import DeploymentPlan, HostPlan, ModelPlan
from deploy.plan.replica_plan import ReplicaPlan
from deploy.plan.service_plans import RouterPlan
from deploy.plan.shared import beside
from deploy.sizing.to_json import ESTIMATE
from deploy.units import GIB

WIDTH = 78
BAR = 46
LABEL = 12
STYLES = {"#": "blue", "+": "yellow", "=": "green", ".": "dim"}
LEGEND = "# weights   + overhead   = KV cache   . free (GiB)"
SERVICES = {"router": "router", "web_ui": "web UI"}
"""What of a host is asked from others, apart from engines."""


def plan_text(plan: DeploymentPlan) -> Iterator[Text]:
    """The lines of a plan."""
    people = "1 person" if plan.users == 1 else f"{plan.users} people"
    yield Text(f"{plan.name}: {people}, {plan.use.replace('_', ' ')}", style="bold")
    for host in plan.hosts:
        yield Text()
        yield from _host(host, plan)
    for model in plan.models:
        yield Text()
        yield from _model(model, plan)
    if plan.warnings:
        yield Text()
        yield Text("warnings", style="bold")
        for warning in plan.warnings:
            yield from _wrapped(f"- {warning}", 4, "yellow")


def _host(host: HostPlan, plan: DeploymentPlan) -> Iterator[Text]:
    web_uis = plan.web_ui.spec.replicas if plan.web_ui else 0
    services = [
        name
        for name, runs in (
            ("entry", plan.entry),
            *((_router(router, plan), router) for router in plan.routers),
            ("web UI" if web_uis == 1 else f"{web_uis} web UIs", plan.web_ui),
            ("PostgreSQL", plan.postgres),
            ("Valkey", plan.valkey),
            ("RabbitMQ", plan.router_of("aristote")),
        )
        if runs and runs.host == host.name
    ]
    counts = {name: host.gpus.count(name) for name in host.gpus}
    gpus = " + ".join(f"{count}x {name}" for name, count in counts.items()) or "CPU"
    title = Text(f"{host.name}: {gpus}", style="bold")
    yield title.append(f" ({', '.join(services)})" if services else "", style="not bold")
    yield from _linked(host, plan)
    for index, usable in enumerate(host.usable_gib):
        replicas = plan.on_gpu(host.name, index)
        yield (
            Text(f"  GPU {host.gpu_ids[index]:<3} [")
            + memory_bar(plan.loaded_on_gpu(host.name, index), usable)
            + f"] {usable:.1f} GiB"
        )
        for replica in replicas:
            yield Text(f"           {_memory(replica)}")
            own = beside(replica, replicas)
            if replica is own[-1]:
                yield from _turns(own)
    if host.gpus:
        yield Text(f"           {LEGEND}", style="dim")
    for replica in plan.replicas:
        own = beside(replica, plan.replicas)
        if host.name in replica.hosts and not replica.gpus and replica is own[0]:
            limit = replica.memory_limit_bytes / GIB
            native = ", without a container" if replica.runs == "native" else ""
            names = ", ".join(map(_name, own))
            yield Text(f"  {names}: up to {limit:.0f} GiB of the machine's memory{native}")
            yield from _turns(own)


def _turns(replicas: Sequence[ReplicaPlan]) -> Iterator[Text]:
    """How many models of a shared Ollama are in memory, where not all of them are."""
    engine = replicas[0].engine
    if engine.shared and len(replicas) > engine.most_loaded:
        count = f"{engine.most_loaded} of {len(replicas)}"
        yield Text(f"           {count} loaded at a time, in the Ollama {engine.shared}")


def _linked(host: HostPlan, plan: DeploymentPlan) -> Iterator[Text]:
    """Which services of a host are asked from another one; engines say it themselves."""
    if plan.links is None:
        return
    hops = [hop for hop in plan.links.hops if hop.server == host.name and hop.asked in SERVICES]
    if hops:
        names = every(dict.fromkeys(SERVICES[hop.asked] for hop in hops))
        yield Text(f"  {names}: reached over TLS, at port {plan.links.spec.port}")


def _router(router: RouterPlan, plan: DeploymentPlan) -> str:
    """A router by how many of it run; of two, by its name."""
    count = router.spec.replicas
    if len(plan.routers) > 1:
        return router.title if count == 1 else f"{count} {router.title}"
    return "router" if count == 1 else f"{count} routers"


def memory_bar(replicas: tuple[ReplicaPlan, ...], usable_gib: float) -> Text:
    """Weights, overhead and KV cache of each replica on a GPU, one replica after the other."""
    bar, total = Text(), 0.0
    for replica in replicas:
        assert replica.memory is not None  # noqa: S101 - replicas on GPUs have it
        memory = replica.memory
        parts = ("#", memory.weights_gib), ("+", memory.overhead_gib), ("=", memory.kv_cache_gib)
        for sign, gib in parts:
            total += gib
            wanted = min(round(total / usable_gib * BAR), BAR)
            bar.append(sign * max(wanted - len(bar), 0), style=STYLES[sign])
    return bar.append("." * (BAR - len(bar)), style=STYLES["."])


def _memory(replica: ReplicaPlan) -> str:
    memory = replica.memory
    assert memory is not None  # noqa: S101 - replicas on GPUs have it
    sizes = f"{memory.weights_gib:.1f} + {memory.overhead_gib:.1f} + {memory.kv_cache_gib:.1f}"
    return f"{_name(replica)[:34]:34} {sizes:>18} = {memory.total_gib:.1f} GiB"


def _name(replica: ReplicaPlan) -> str:
    return f"{replica.served_model_name} #{replica.index}"


def _model(model: ModelPlan, plan: DeploymentPlan) -> Iterator[Text]:
    what = f"{', '.join(model.roles)}; {model.engine}, {_weights(model)}"
    title = Text(model.served_model_name, style="bold")
    yield title.append(f" ({what})", style="not bold")
    for replica in plan.replicas_of(model.served_model_name):
        yield from _row(f"replica {replica.index}", _arrangement(replica) + _reached(replica, plan))
    yield from _row("each user", _each_user(model))
    people = "1 person" if model.concurrent_users == 1 else f"{model.concurrent_users} people"
    yield from _row("at once", f"{people}, with {model.context_tokens} tokens each")
    yield from _row("then", model.at_the_limit)
    for reason in model.reasons:
        yield from _row("because", reason)
    for rejected in model.rejected:
        yield from _row("not", f"{rejected.arrangement}: {rejected.reason}")


def _weights(model: ModelPlan) -> str:
    return "16 bits" if model.quantization == "none" else model.quantization


def _arrangement(replica: ReplicaPlan) -> str:
    if not replica.gpus:
        return f"{' + '.join(replica.hosts)}, CPU, {replica.max_num_seqs} requests at once"
    many = "s" if len(replica.gpus) > 1 else ""
    split = (
        f"tensor_parallel_size {replica.tensor_parallel_size},"
        f" pipeline_parallel_size {replica.pipeline_parallel_size}, "
        if replica.engine.traits.shares_cache
        else ""
    )
    return (
        f"{' + '.join(replica.hosts)}, GPU{many} {', '.join(replica.gpu_ids)}: {split}"
        f"{replica.gpu_memory_utilization:.0%} of the memory,"
        f" {replica.kv_cache_tokens} tokens of KV cache"
    )


def _reached(replica: ReplicaPlan, plan: DeploymentPlan) -> str:
    """How routers on another host reach a replica."""
    if replica.is_linked and plan.links:
        return f"; reached over TLS, at port {plan.links.spec.port} of {replica.host}"
    if replica.host == plan.router.host or replica.port is None:
        return ""
    return f"; reached without TLS, at port {replica.port} of {replica.host}"


def _each_user(model: ModelPlan) -> str:
    length = f"requests of up to {model.max_model_len} tokens"
    speed = model.tokens_per_second_per_user
    if not model.writes:
        return length
    if speed is None:
        return f"{length}; the speed is the machine's"
    return f"{length}; {speed:.0f} tokens/s ({ESTIMATE})"


def _row(label: str, text: str) -> Iterator[Text]:
    yield from _wrapped(f"{label:{LABEL}}{text}", LABEL + 2)


def _wrapped(text: str, indent: int, style: str = "") -> Iterator[Text]:
    """Lines of a text, the first two columns in, the others as far as ``indent``."""
    others = " " * indent
    lines = textwrap.wrap(
        text, WIDTH, initial_indent="  ", subsequent_indent=others, break_on_hyphens=False
    )
    yield from (Text(line, style=style) for line in lines)
