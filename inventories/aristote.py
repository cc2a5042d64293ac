"""Aristote Dispatcher as the router of two servers with vLLM, which two organisations own.

See what it gives, and how it differs from LiteLLM: atelier plan inventories/aristote.py
"""

from deploy import (
    Aristote,
    Deployment,
    Engine,
    Entry,
    Host,
    Model,
    Postgres,
    Router,
    pyinfra_hosts,
)

deployment = Deployment(
    name="dispatch",
    users=20,
    hosts=[
        # an address that the other host knows: requests go there through a link
        Host(name="10.0.5.11", ssh_user="atelier", sudo=True, gpus="1x l40s"),
        Host(name="10.0.5.12", ssh_user="atelier", sudo=True, gpus="1x l40s"),
    ],
    # Aristote tells vLLM the priority of each request
    engine=Engine(kind="vllm", scheduling_policy="priority", start_timeout_seconds=3600),
    models=[Model(name="qwen2.5-coder-7b", roles=["chat"], replicas=2)],
    router=Router(
        kind="aristote",
        aristote=Aristote(
            organization="school",
            organizations={"10.0.5.12": "physics"},
            # requests beyond it wait in the queue, where those of higher priority go first
            max_parallel_requests=32,
        ),
    ),
    postgres=Postgres(),
    entry=Entry(),
)

hosts = pyinfra_hosts(deployment, __file__)
