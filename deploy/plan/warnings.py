"""What works, but not as an operator may expect."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.catalog import Catalog, Use
from deploy.errors import every
from deploy.licence import licence_warnings
from deploy.plan.deployment_plan import HostPlan, ModelPlan
from deploy.plan.model_plans import Outcome
from deploy.plan.placement import Claim
from deploy.plan.replica_plan import ReplicaPlan
from deploy.plan.shared_text import shared_warnings
from deploy.plan.wide import wide_warnings
from deploy.sizing.reasons import Reason, ReasonKind
from deploy.sizing.reasons_text import INVENTORY, reason_text
from deploy.sizing.setup import USUAL_UTILIZATION
from deploy.spec import DeploymentSpec

LEFT_OUT = {ReasonKind.USERS_WAIT, ReasonKind.GPUS_UNUSED}
"""Warnings of one sizing that a whole plan says itself, for all replicas together."""


def warnings(  # noqa: PLR0913, PLR0917
    spec: DeploymentSpec,
    claims: tuple[Claim, ...],
    hosts: tuple[HostPlan, ...],
    models: tuple[ModelPlan, ...],
    replicas: tuple[ReplicaPlan, ...],
    outcome: Outcome,
    catalog: Catalog,
) -> Iterator[str]:
    """Everything worth saying about a plan that can be carried out."""
    yield from _too_many_users(spec, models)
    yield from _unused(hosts, replicas)
    yield from _shared(replicas)
    yield from shared_warnings(hosts, replicas)
    yield from _by_sizing(claims, outcome)
    yield from _one_template(models, replicas)
    yield from _caveats(replicas)
    yield from _vllm_on_cpus(replicas)
    yield from _uncounted_adapters(replicas)
    yield from wide_warnings(replicas)
    yield from _divided(hosts, catalog)
    yield from _licences(spec, replicas, catalog)
    if any(replica.gpu_vendor == "amd" for replica in replicas):
        amd = {replica.host for replica in replicas if replica.gpu_vendor == "amd"}
        for host in spec.hosts:
            if host.name in amd and "gpu_groups" not in host.model_fields_set:
                yield (
                    f"{host.name}: gpu_groups is not declared, 44 (video) is assumed; see"
                    " 'stat -c %g /dev/kfd /dev/dri/renderD*' on the host"
                )


def _too_many_users(spec: DeploymentSpec, models: tuple[ModelPlan, ...]) -> Iterator[str]:
    for model in models:
        if model.concurrent_users < spec.users:
            yield (
                f"{model.served_model_name}: {model.concurrent_users} of {spec.users} people are"
                f" answered at once with {model.context_tokens} tokens each; others wait meanwhile"
            )


def _licences(
    spec: DeploymentSpec, replicas: tuple[ReplicaPlan, ...], catalog: Catalog
) -> Iterator[str]:
    """What licences ask for without refusing."""
    works = [replica.model for replica in replicas if replica.model in catalog.models]
    if spec.web_ui:
        works.append("open-webui")
    yield from licence_warnings(list(dict.fromkeys(works)), spec.users, catalog, Use(spec.use))


def _divided(hosts: tuple[HostPlan, ...], catalog: Catalog) -> Iterator[str]:
    """Instances whose memory no one has published."""
    for host in hosts:
        pairs = zip(host.gpu_ids, host.gpu_names, strict=True)
        cards = dict.fromkeys(name.partition(" ")[0] for gpu, name in pairs if ":" in gpu)
        for card in cards:
            if catalog.mig[card].memory_is_estimated:
                yield (
                    f"{host.name}: the memory of instances of {card} is an estimate on the safe"
                    " side: compare it with 'nvidia-smi mig -lgip'"
                )


def _unused(hosts: tuple[HostPlan, ...], replicas: tuple[ReplicaPlan, ...]) -> Iterator[str]:
    for host in hosts:
        used = {gpu for replica in replicas if host.name in replica.hosts for gpu in replica.gpus}
        for index, (gpu, name) in enumerate(zip(host.gpu_ids, host.gpu_names, strict=True)):
            if index not in used:
                yield f"{host.name}: GPU {gpu} ({name}) stays unused"


def _shared(replicas: tuple[ReplicaPlan, ...]) -> Iterator[str]:
    shared: dict[tuple[str, int], list[ReplicaPlan]] = {}
    for replica in replicas:
        for gpu in replica.gpus:
            shared.setdefault((replica.host, gpu), []).append(replica)
    together = {
        (host, *(each.served_model_name for each in own))
        for (host, _), own in shared.items()
        # models of one Ollama are no other engines
        if len({(each.engine.kind, each.engine_name) for each in own}) > 1
    }
    for host, *names in sorted(together):
        yield (
            f"{host}: {every(dict.fromkeys(names))} share GPUs: each is slower while the"
            " other works; speeds are those of one working alone"
        )


def _by_sizing(claims: tuple[Claim, ...], outcome: Outcome) -> Iterator[str]:
    seen = set()
    for claim in claims:
        for seat in outcome.seats(claim):
            for warning in seat.sizing.warnings:
                if warning.kind not in LEFT_OUT and not _has_room(warning, claim):
                    seen.add(f"{claim.name}: {reason_text(warning, INVENTORY)}")
    yield from sorted(seen)


def _has_room(warning: Reason, claim: Claim) -> bool:
    """Whether what Ollama may take beyond its part finds room in what no engine is given."""
    is_sure = claim.utilization <= USUAL_UTILIZATION
    return warning.kind is ReasonKind.PROBABLY_ON_GPU and is_sure


def _caveats(replicas: tuple[ReplicaPlan, ...]) -> Iterator[str]:
    """What is said of an engine, whatever it serves."""
    caveats = {replica.engine.kind: replica.engine.traits.caveat for replica in replicas}
    yield from (caveat for caveat in caveats.values() if caveat)


def _vllm_on_cpus(replicas: tuple[ReplicaPlan, ...]) -> Iterator[str]:
    for model in dict.fromkeys(r.served_model_name for r in replicas if r.cpu):
        yield f"{model}: vLLM runs on CPUs, as no host has GPUs; declare gpus of a host to use them"


def _uncounted_adapters(replicas: tuple[ReplicaPlan, ...]) -> Iterator[str]:
    for model in dict.fromkeys(r.served_model_name for r in replicas if r.lora_adapters):
        yield f"{model}: the memory that its LoRA adapters take is not counted in this plan"


def _one_template(
    models: tuple[ModelPlan, ...], replicas: tuple[ReplicaPlan, ...]
) -> Iterator[str]:
    """Ollama has one template for a model; of a file's, only the one for chatting is known."""
    files = {r.served_model_name for r in replicas if r.engine.kind == "ollama" and r.file}
    for model in models:
        if model.served_model_name in files and {"chat", "completion"} <= {*model.roles}:
            yield (
                f"{model.served_model_name}: Ollama only chats with a model made from a file that"
                " is for both; to complete code, declare roles=['completion']"
            )
