"""The profile 20-users on the scenario's host, from the lines of inventories/users_20.py.

Everything is as shipped but for the engine, which is llama.cpp; images are built here, and copied.
"""

import os
from pathlib import Path

from deploy import Deployment, pyinfra_hosts
from tests.e2e.inventories import shipped

_state = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
_host = {"name": "box", "address": (_state / "box/address").read_text(), "ssh_user": "alice"}

deployment = Deployment(**(
    shipped("users_20")
    | {
        "name": "people",
        "hosts": [_host | {"ssh_key": str(_state / "box/key"), "sudo": True}],
        "engine": {"kind": "llama_cpp"},
        "models": [{"name": "tiny-coder"}],
        "teams": [{"name": "research"}],
        "people": [{"name": "ada", "team": "research"}],
        "image_source": "build",
        "secrets_file": str(_state / "secrets.yaml"),
    }
))  # fmt: skip

hosts = pyinfra_hosts(deployment, __file__)
