"""The profile individual on the scenario's host: Ollama and LiteLLM, images built here."""

import os
from pathlib import Path

from deploy import Deployment, Engine, Host, Model, pyinfra_hosts

_state = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])

deployment = Deployment(
    name="individual",
    profile="individual",
    hosts=[
        Host(
            name="box",
            address=(_state / "box/address").read_text(),
            ssh_user="alice",
            ssh_key=str(_state / "box/key"),
            sudo=True,
        )
    ],
    engine=Engine(kind="ollama"),
    models=[Model(name="tiny-coder")],
    web_ui=None,
    image_source="build",
    secrets_file=_state / "secrets.yaml",
)

hosts = pyinfra_hosts(deployment, __file__)
