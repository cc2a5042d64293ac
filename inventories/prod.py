"""A site's own inventory: copy it, make it yours, keep it in git.

    atelier plan inventories/prod.py                        what would run where
    pyinfra inventories/prod.py deploy.py --dry --diff      what would change
    pyinfra inventories/prod.py deploy.py                   show it, wait for Enter, do it

As it stands it deploys a tiny model to this machine. Commented lines show what else can be said;
`atelier schema` lists all of it.
"""

import os

from deploy import Deployment, Entry, Host, Model, Router, Secret, WebUI, pyinfra_hosts

NOT_ROOT = os.geteuid() != 0

deployment = Deployment(
    # containers, networks and volumes start with it: choose it once, renaming is a new deployment
    name="prod",
    # defaults for so many people: "individual" (1 to 3), "20-users" or "100-users" (GPUs, vLLM)
    profile="individual",
    # how many people really; the plan says how many are answered at once
    # users=5,
    # what for, because licences differ: "research", "internal_commercial", "third_party_service"
    use="internal_commercial",
    hosts=[
        # the first host has the router and the web UI. Yours: put its name in the place of @local
        Host(
            # what `ssh NAME` understands, or @local for this machine
            name="@local",
            # its IP address, where the name is only known here
            # address="10.0.0.11",
            # what ~/.ssh/config does not say
            # ssh_user="alice",
            # ssh_port=2222,
            # ssh_key="~/.ssh/lab",
            # ssh_jump="alice@bastion.lab",
            # for a user who is not root; a password is asked for once
            sudo=NOT_ROOT,
            # GPUs, in the order of nvidia-smi
            # gpus="2x l40s",
        ),
        # further hosts run engines; the router reaches them at this address, port 8443, over TLS
        # Host(name="gpu2", address="10.0.0.12", ssh_user="alice", sudo=True),
    ],
    models=[
        # carried by Atelier, to try everything out. Yours: one of `atelier models`, or a file
        Model(name="tiny-coder"),
        # Model(name="mine", path="weights/mine.gguf", max_model_len=8192),
    ],
    # everything listens on 127.0.0.1; 0.0.0.0 lets your network in, without TLS
    router=Router(port=4000, listen="127.0.0.1"),
    web_ui=WebUI(
        port=3000,
        listen="127.0.0.1",
        # the first login; its password is generated, see secrets
        admin_email="admin@example.org",
        # what users type into the browser, where that is not the address above
        # url="https://chat.lab.example",
    ),
    # one address over TLS for people and editors; ports of router and web UI stay on 127.0.0.1
    # entry=Entry(names=["ai.lab.example"]),
    # upstream's images; "build" makes them here, where no registry can be reached
    image_source="pull",
    # a registry in between
    # registry_mirror="registry.lab:5000",
    secrets={
        # what is not listed is generated once into .secrets/prod.yaml beside this file: back it up
        # "router_master_key": Secret(env="LAB_ROUTER_KEY"),
        # "engine_api_key": Secret(file="engine-key.txt"),
        # "web_ui_admin_password": Secret(command=["pass", "show", "lab/admin"]),
    },
)

# the hosts as pyinfra wants them
hosts = pyinfra_hosts(deployment, __file__)
