"""Aristote Dispatcher for chats, LiteLLM for code that is completed while people type.

Both know the same people with the same keys. See who answers for what: atelier plan
inventories/both_routers.py
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
    name="lab",
    users=20,
    hosts=[Host(name="10.0.5.11", ssh_user="atelier", sudo=True, gpus="2x l40s")],
    engine=Engine(kind="vllm", start_timeout_seconds=3600),
    models=[
        Model(name="qwen2.5-coder-7b", roles=["chat"], gpus=1),
        Model(name="qwen2.5-coder-1.5b", roles=["completion"], gpus=1),
    ],
    routers=[
        # the first is the main one: the web UI and the entry ask it for all but completions
        Router(kind="aristote", aristote=Aristote(max_parallel_requests=32)),
        Router(kind="litellm", port=4001),
    ],
    postgres=Postgres(),
    entry=Entry(),
)

hosts = pyinfra_hosts(deployment, __file__)
