"""100 people on one server with 4 RTX PRO 6000: a chat model, and one that completes code.

See what it gives before buying or touching a machine: atelier plan inventories/users_100.py
"""

from deploy import Deployment, Host, Model, pyinfra_hosts

deployment = Deployment(
    name="coder",
    profile="100-users",
    hosts=[Host(name="gpu1.lab.example", ssh_user="atelier", sudo=True, gpus="4x rtx-pro-6000")],
    models=[
        Model(name="qwen3.6-35b-a3b", quantization="fp8"),
        Model(name="qwen2.5-coder-7b-base"),
    ],
)

hosts = pyinfra_hosts(deployment, __file__)
