"""How many requests wait in the engines, as their own metrics say.

https://docs.vllm.ai/en/latest/usage/metrics.html; llama.cpp: tools/server/README.md, GET /metrics;
SGLang 0.5.21: sglang/srt/observability/metrics_collector.py; TGI 3.3.7: docs/source/reference,
metrics.md
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

import httpx

from deploy.artefacts import Artefacts
from deploy.errors import AtelierError
from deploy.live.connection import Connection, connect
from deploy.live.engine_questions import engine_url
from deploy.plan.replica_plan import ReplicaPlan
from deploy.services import engines
from deploy.spec import SecretName
from deploy.spec.engine_kinds import EngineKind

WAITING: dict[EngineKind, str] = {
    "sglang": "sglang:num_queue_reqs",
    "tgi": "tgi_queue_size",
    "vllm": "vllm:num_requests_waiting",
    "llama_cpp": "llamacpp:requests_deferred",
}
RUNNING: dict[EngineKind, str] = {
    "sglang": "sglang:num_running_reqs",
    "tgi": "tgi_batch_current_size",
    "vllm": "vllm:num_requests_running",
    "llama_cpp": "llamacpp:requests_processing",
}
COUNTED_ALREADY = re.compile(r'priority="[^"]+"|pp_rank="[1-9]\d*"')
"""Labels of rows whose requests are in another row, too: SGLang counts those of each priority and
of each stage of a pipeline, and all together."""
TIMEOUT_SECONDS = 5


@dataclass(frozen=True)
class Queue:
    """Requests of all engines together, at one moment."""

    seconds: float
    """Since the load began."""
    waiting: int
    running: int


@dataclass(frozen=True)
class Metrics:
    """Where one engine says that."""

    kind: EngineKind
    url: str
    key: str


def read(text: str, name: str) -> int:
    """The sum of a metric over its labels."""
    rows = re.findall(rf"^{re.escape(name)}({{[^}}]*}})? +(\S+)", text, re.M)
    return int(sum(float(row) for labels, row in rows if not COUNTED_ALREADY.search(labels)))


@contextmanager
def open_queue(
    artefacts: Artefacts, replicas: Iterable[ReplicaPlan]
) -> Iterator[Callable[[float], Queue | None]]:
    """Something that looks at the queues of some engines.

    Yields:
        A function of the seconds since the load began; what it returns is ``None`` where no
        engine says.
    """
    with ExitStack() as stack:
        places = list(dict.fromkeys(_places(artefacts, replicas, stack)))
        http = stack.enter_context(httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False))
        yield lambda seconds: _look(http, places, seconds)


def _places(
    artefacts: Artefacts, replicas: Iterable[ReplicaPlan], stack: ExitStack
) -> Iterator[Metrics]:
    hosts: dict[str, Connection] = {}
    for replica in replicas:
        kind = replica.engine.kind
        if kind not in WAITING:
            continue
        # a load is worth measuring where this host does not say
        with suppress(AtelierError):
            for name in {replica.host, artefacts.plan.router.host} - hosts.keys():
                host = artefacts.host(name)
                needs_docker = artefacts.stack.needs_docker(name)
                hosts[name] = stack.enter_context(connect(host, needs_docker=needs_docker))
            has_key = engines.upstream(artefacts.context, replica).has_key
            key = artefacts.secrets.value(SecretName.ENGINE_API_KEY) if has_key else ""
            yield Metrics(kind, engine_url(artefacts, replica, hosts), key)


def _look(http: httpx.Client, places: list[Metrics], seconds: float) -> Queue | None:
    waiting = running = known = 0
    for place in places:
        headers = {"Authorization": f"Bearer {place.key}"} if place.key else {}
        with suppress(httpx.HTTPError, ValueError):
            reply = http.get(f"{place.url}/metrics", headers=headers)
            if reply.is_success:
                known += 1
                waiting += read(reply.text, WAITING[place.kind])
                running += read(reply.text, RUNNING[place.kind])
    return Queue(seconds, waiting, running) if known else None
