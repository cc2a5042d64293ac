"""Deployments to try placement on, and what must hold for every plan."""

from collections import defaultdict
from typing import Any

from hypothesis import strategies as st

from deploy import Deployment
from deploy.catalog import load_catalog
from deploy.errors import PlanError
from deploy.plan.deployment_plan import DeploymentPlan
from deploy.plan.make_plan import make_plan

CARDS = ("rtx-3090", "rtx-4090", "l40s", "a100-80", "h100", "t4", "mi300x")
CHAT = (
    ("qwen2.5-coder-32b", "awq"),
    ("qwen2.5-coder-32b", None),
    ("qwen2.5-coder-14b", None),
    ("qwen2.5-coder-7b", "awq"),
    ("codellama-13b", None),
    ("deepseek-coder-v2-lite", None),
)
COMPLETION = ("qwen2.5-coder-1.5b-base", "starcoder2-3b", "qwen2.5-coder-7b-base")

counts = st.integers(1, 4)
cards = st.sampled_from(CARDS)
chat_models = st.sampled_from(CHAT).map(
    lambda model: {"name": model[0], "quantization": model[1], "roles": ["chat"]}
)
models = st.one_of(
    chat_models.map(lambda chat: [chat]),
    st.tuples(chat_models, st.sampled_from(COMPLETION)).map(
        lambda pair: [pair[0], {"name": pair[1], "roles": ["completion"]}]
    ),
)
hosts = st.lists(st.tuples(counts, cards), min_size=1, max_size=2)
contexts = st.sampled_from((512, 2000, 4096, 8192, 16000))


def plan_of(
    hosts: list[tuple[int, str]], models: list[dict[str, Any]], context: int, **settings: Any
) -> DeploymentPlan | None:
    """The plan, or ``None`` where there is none."""
    spec = Deployment(
        name="lab",
        hosts=[
            {"name": f"10.0.0.{index}", "gpus": f"{count}x {card}"}
            for index, (count, card) in enumerate(hosts)
        ],
        engine={"kind": "vllm"},
        models=models,
        context_tokens=context,
        **settings,
    )
    try:
        return make_plan(spec, load_catalog(), {})
    except PlanError:
        return None


def users(plan: DeploymentPlan | None) -> int:
    """People who can use every model at once; none without a plan."""
    return plan.concurrent_users if plan else 0


def shares(plan: DeploymentPlan) -> dict[tuple[str, int], float]:
    """How much of each GPU's memory is given away."""
    given: dict[tuple[str, int], float] = defaultdict(float)
    for replica in plan.replicas:
        for gpu in replica.gpus:
            given[replica.host, gpu] += replica.gpu_memory_utilization or 0.0
    return given


def used_gib(plan: DeploymentPlan) -> dict[tuple[str, int], float]:
    """How much of each GPU is used."""
    used: dict[tuple[str, int], float] = defaultdict(float)
    for replica in plan.replicas:
        for gpu in replica.gpus:
            used[replica.host, gpu] += replica.memory.total_gib if replica.memory else 0.0
    return used
