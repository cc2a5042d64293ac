"""100 people on one server with 4 H100: a chat model in full precision, and one that completes.

See what it gives before buying or touching a machine: atelier plan inventories/users_100.py
"""

from deploy import Deployment, Host, Model, pyinfra_hosts

deployment = Deployment(
    name="coder",
    profile="100-users",
    hosts=[Host(name="gpu1.lab.example", ssh_user="atelier", sudo=True, gpus="4x h100")],
    models=[
        Model(name="qwen2.5-coder-32b", roles=["chat"]),
        Model(name="qwen2.5-coder-7b-base"),
    ],
)

hosts = pyinfra_hosts(deployment, __file__)
