"""100 people on two servers with 2 RTX PRO 6000 each, who log in with the accounts of their site.

The first server has the router, the web UIs and their stores, too. See what it gives before buying
or touching a machine: atelier plan inventories/users_100.py
"""

from deploy import Deployment, Entry, Host, Model, Oidc, Secret, WebUI, pyinfra_hosts

server = {"ssh_user": "atelier", "sudo": True, "gpus": "2x rtx-pro-6000"}

deployment = Deployment(
    name="coder",
    profile="100-users",
    hosts=[
        Host(name="gpu1", address="192.0.2.11", **server),
        Host(name="gpu2", address="192.0.2.12", **server),
    ],
    models=[
        Model(name="qwen3.6-35b-a3b", quantization="fp8", replicas=2, gpus=1),
        Model(name="qwen2.5-coder-7b-base", replicas=2, gpus=1),
    ],
    entry=Entry(names=["ai.lab.example"]),
    web_ui=WebUI(
        replicas=2,
        oidc=Oidc(
            issuer="https://id.lab.example/realms/lab",
            client_id="ai",
            client_secret=Secret(env="AI_CLIENT_SECRET"),
            allowed_groups=["ai-users"],
            admin_groups=["ai-admins"],
        ),
    ),
)

hosts = pyinfra_hosts(deployment, __file__)
