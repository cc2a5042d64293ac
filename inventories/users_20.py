"""20 people on one machine with two RTX 5090: a chat model, and a small one that completes code.

See what it gives before buying or touching a machine: atelier plan inventories/users_20.py
"""

from deploy import Deployment, Host, Model, pyinfra_hosts

deployment = Deployment(
    name="coder",
    profile="20-users",
    hosts=[Host(name="gpu1.lab.example", ssh_user="atelier", sudo=True, gpus="2x rtx-5090")],
    models=[
        Model(name="qwen3.6-35b-a3b", quantization="fp8"),
        Model(name="qwen2.5-coder-1.5b-base"),
    ],
)

hosts = pyinfra_hosts(deployment, __file__)
