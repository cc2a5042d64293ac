"""A plan as plain data, with the keys that docs/reference-plan.md promises."""

from __future__ import annotations

from typing import Any

from deploy.plan.deployment_plan import DeploymentPlan, HostPlan, ModelPlan
from deploy.plan.replica_plan import ReplicaPlan
from deploy.plan.service_plans import RouterPlan
from deploy.sizing.to_json import ESTIMATE
from deploy.spec import EngineSpec
from deploy.units import GIB


def plan_to_json(plan: DeploymentPlan) -> dict[str, Any]:
    """Every figure of a plan; memory in GiB to two decimals."""
    return {
        "name": plan.name,
        "users": plan.users,
        "use": plan.use,
        "concurrent_users": plan.concurrent_users,
        "hosts": [_host(host, plan) for host in plan.hosts],
        "models": [_model(model) for model in plan.models],
        "replicas": [_replica(replica) for replica in plan.replicas],
        "router": _router(plan.router),
        **_both_routers(plan),
        "web_ui": {
            "host": plan.web_ui.host,
            "port": plan.web_ui.spec.port,
            "replicas": plan.web_ui.spec.replicas,
        }
        if plan.web_ui
        else None,
        "postgres": {
            "host": plan.postgres.host,
            "own": list(plan.postgres.own),
            "declared": list(plan.postgres.declared),
        }
        if plan.postgres
        else None,
        "valkey": {"host": plan.valkey.host} if plan.valkey else None,
        "entry": {"host": plan.entry.host, "urls": list(plan.entry.urls)} if plan.entry else None,
        "links": {
            "host": plan.router.host,
            "ends": list(plan.links.ends),
            "port": plan.links.spec.port,
            "hops": [hop.model_dump(mode="json") for hop in plan.links.hops],
        }
        if plan.links
        else None,
        "warnings": list(plan.warnings),
    }


def _router(router: RouterPlan) -> dict[str, Any]:
    spec = router.spec
    return {
        "kind": spec.kind,
        "host": router.host,
        "port": spec.port,
        "replicas": spec.replicas,
    }


def _both_routers(plan: DeploymentPlan) -> dict[str, Any]:
    """Of two routers each, with its models; one answers for all."""
    if len(plan.routers) == 1:
        return {}
    return {"routers": [_router(each) | {"models": list(each.models)} for each in plan.routers]}


def _host(host: HostPlan, plan: DeploymentPlan) -> dict[str, Any]:
    gpus = zip(host.gpu_ids, host.gpu_names, host.usable_gib, strict=True)
    return {
        "name": host.name,
        "engines": host.engines,
        "gpus": [
            {"index": index, "id": name, "usable_gib": usable}
            | ({"instance": gpu} if ":" in gpu else {})
            | _used(host, index, plan)
            for index, (gpu, name, usable) in enumerate(gpus)
        ],
    }


def _used(host: HostPlan, index: int, plan: DeploymentPlan) -> dict[str, Any]:
    replicas, loaded = plan.on_gpu(host.name, index), plan.loaded_on_gpu(host.name, index)
    return {
        "used_gib": round(sum(r.memory.total_gib for r in loaded if r.memory), 2),
        "replicas": [
            {"served_model_name": replica.served_model_name, "index": replica.index}
            | _memory(replica)
            for replica in replicas
        ],
    }


def _memory(replica: ReplicaPlan) -> dict[str, float]:
    memory = replica.memory.model_dump() if replica.memory else {}
    return {name: round(size, 2) for name, size in memory.items()}


def _model(model: ModelPlan) -> dict[str, Any]:
    return {**model.model_dump(mode="json"), "throughput": ESTIMATE}


def _replica(replica: ReplicaPlan) -> dict[str, Any]:
    weights = {name: value for name, value in replica.weights.model_dump().items() if value}
    if replica.file is not None:
        weights["file"] = replica.file.path.name
    if replica.draft_file is not None:
        weights["draft_file"] = replica.draft_file.path.name
    return {
        "served_model_name": replica.served_model_name,
        "model": replica.model,
        "index": replica.index,
        "host": replica.host,
        "engine": replica.engine.kind,
        "weights": weights,
        "gpus": list(replica.gpus),
        "tensor_parallel_size": replica.tensor_parallel_size,
        "pipeline_parallel_size": replica.pipeline_parallel_size,
        "gpu_memory_utilization": replica.gpu_memory_utilization,
        "memory_gib_per_gpu": _memory(replica) or None,
        "kv_cache_tokens": replica.kv_cache_tokens,
        "max_model_len": replica.max_model_len,
        "max_num_seqs": replica.max_num_seqs,
        "concurrent_users": replica.concurrent_users,
        "memory_limit_gib": round(replica.memory_limit_bytes / GIB, 2),
        "port": replica.port,
        "is_linked": replica.is_linked,
        **(_shared(replica.engine) if replica.engine.shared else {}),
        **({"other_hosts": list(replica.other_hosts)} if replica.other_hosts else {}),
        **({"llama_cpp": replica.llama_cpp.model_dump()} if replica.llama_cpp else {}),
        **({"sglang": replica.sglang.model_dump()} if replica.sglang else {}),
        **({"tensorrt_llm": replica.tensorrt_llm.model_dump()} if replica.tensorrt_llm else {}),
        **({"tgi": replica.tgi.model_dump()} if replica.tgi else {}),
    }


def _shared(engine: EngineSpec) -> dict[str, Any]:
    """The Ollama that serves other models, too."""
    return {"shared": engine.shared, "max_loaded_models": engine.max_loaded_models}
