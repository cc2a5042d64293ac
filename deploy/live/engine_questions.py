"""What engines are asked to prove that they serve."""

from __future__ import annotations

from functools import partial

from deploy.artefacts import Artefacts
from deploy.catalog import load_catalog
from deploy.live.checks import Answer, complete, embed, rerank, stream_chat
from deploy.live.connection import Connection, container_address
from deploy.live.kv_cache import kv_cache_text, kv_cache_warning, read_kv_cache
from deploy.live.metal import metal_device
from deploy.live.ollama import answer_and_share
from deploy.live.question import Question
from deploy.plan.replica_plan import ReplicaPlan
from deploy.services import engines, llama_cpp, routes
from deploy.services.upstream import Upstream
from deploy.spec import SecretName


def engine_question(
    artefacts: Artefacts, replica: ReplicaPlan, hosts: dict[str, Connection]
) -> Question:
    """A replica is asked as routers ask it, and then what it says of its memory.

    Args:
        artefacts: the deployment.
        replica: which one.
        hosts: connections to the hosts, by name.
    """
    upstream = engines.upstream(artefacts.context, replica)
    key = artefacts.secrets.value(SecretName.ENGINE_API_KEY) if upstream.has_key else ""
    model = upstream.upstream_model
    ask_at = partial(_ask_engine, replica, upstream, key)

    def ask() -> str | Answer:
        url = engine_url(artefacts, replica, hosts)
        if replica.engine.kind == "ollama" and replica.gpus and replica.engine.keep_alive != "0":
            # only a model that has just answered is loaded for sure
            return answer_and_share(partial(ask_at, url), url, model, replica)
        answer = ask_at(url)
        if replica.engine.traits.shares_cache:
            return _with_kv_cache(answer, upstream.name, replica, hosts[replica.host])
        if replica.engine.kind == "llama_cpp" and replica.gpu_vendor == "apple":
            return f"{answer}; by Metal, on {_metal(artefacts, replica, hosts[replica.host])}"
        return answer

    name = replica.served_model_name
    return Question(f"engine {name}", replica.host, ask, name)


def _ask_engine(replica: ReplicaPlan, upstream: Upstream, key: str, url: str) -> str:
    model = upstream.upstream_model
    if replica.embeds:
        return embed(url, key, model)
    if replica.reranks:
        return rerank(url, key, model)
    if upstream.completes:
        return complete(url, key, model, expected_answer(replica))
    return stream_chat(url, key, model)


def _metal(artefacts: Artefacts, replica: ReplicaPlan, host: Connection) -> str:
    """The GPU that a replica of llama.cpp on a Mac sees."""
    program = artefacts.context.program(replica.host, llama_cpp.PROGRAM)
    name = engines.container_name(artefacts.context, replica)
    return metal_device(host, str(program.path), name)


def _with_kv_cache(answer: str, name: str, replica: ReplicaPlan, host: Connection) -> Answer:
    """What an engine answered, and the KV cache that it has for more."""
    found, planned = read_kv_cache(host, name, replica), replica.kv_cache_tokens
    if found is None:
        return Answer(answer)
    warning = kv_cache_warning(found, planned, replica.engine.traits.title)
    return Answer(f"{answer}; {kv_cache_text(found, planned)}", warning)


def engine_url(artefacts: Artefacts, replica: ReplicaPlan, hosts: dict[str, Connection]) -> str:
    """The way that the router takes: through a link, to a port of the host, or to a container."""
    plan = artefacts.plan
    if replica.is_linked:
        client = routes.link_asked_name(artefacts.context, plan.router.host)
        router = hosts[plan.router.host]
        url = router.reach(container_address(router, client, plan.name), routes.LINK_PORT)
        return f"{url}/{engines.container_name(artefacts.context, replica)}"
    if replica.port is not None:
        return hosts[plan.router.host].reach(plan.host(replica.host).address, replica.port)
    connection = hosts[replica.host]
    container = engines.container_name(artefacts.context, replica)
    address = container_address(connection, container, plan.name)
    return connection.reach(address, engines.container_port(replica))


def expected_answer(replica: ReplicaPlan) -> str | None:
    """What the model is known to answer, if it is one of the catalogue's that is."""
    entry = load_catalog().models.get(replica.model)
    return (
        entry.known_answer
        if entry and replica.file and entry.sha256 == replica.file.sha256
        else None
    )
