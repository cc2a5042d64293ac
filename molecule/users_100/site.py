"""The profile 100-users on the scenario's hosts, from the lines of inventories/users_100.py.

Everything is as shipped but for engines, which are llama.cpp, and the provider, which is none: who
logs in there does so in tests/e2e/test_users_100.py. Images are built here, and copied.
"""

import os
from pathlib import Path

from deploy import Deployment, pyinfra_hosts
from tests.e2e.inventories import shipped

_state = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
_shipped = shipped("users_100")


def _reached(name: str) -> dict[str, object]:
    address, key = (_state / name / "address").read_text(), str(_state / name / "key")
    return {"name": name, "address": address, "ssh_user": "alice", "ssh_key": key, "sudo": True}


deployment = Deployment(**(
    _shipped
    | {
        "name": "people",
        "hosts": [_reached(host["name"]) for host in _shipped["hosts"]],
        "engine": {"kind": "llama_cpp"},
        "models": [{"name": "tiny-coder", "replicas": 2}],
        "entry": {},
        "web_ui": {"replicas": 2, "memory_limit": "1GiB"},
        "router": {"memory_limit": "1GiB"},
        "postgres": {"memory_limit": "512MiB"},
        "people": [{"name": "ada"}],
        "image_source": "build",
        "secrets_file": str(_state / "secrets.yaml"),
    }
))  # fmt: skip

hosts = pyinfra_hosts(deployment, __file__)
