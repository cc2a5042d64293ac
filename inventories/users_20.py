"""20 people on one server with an L40S: a chat model, and a small one that completes code.

See what it gives before buying or touching a machine: atelier plan inventories/users_20.py
"""

from deploy import Deployment, Host, Model, pyinfra_hosts

deployment = Deployment(
    name="coder",
    profile="20-users",
    # the same with two cheaper cards: gpus="2x rtx-3090"
    hosts=[Host(name="gpu1.lab.example", ssh_user="atelier", sudo=True, gpus="1x l40s")],
    models=[
        Model(name="qwen2.5-coder-32b", quantization="awq", roles=["chat"]),
        Model(name="qwen2.5-coder-1.5b-base"),
    ],
)

hosts = pyinfra_hosts(deployment, __file__)
