"""The demo: a whole stack on this machine, with the tiny model that Atelier carries."""

import os

from deploy import Deployment, Host, Model, pyinfra_hosts

deployment = Deployment(
    name="demo",
    profile="individual",
    hosts=[Host(name="@local", sudo=os.geteuid() != 0)],
    models=[Model(name="tiny-coder")],
    image_source="build",
)

hosts = pyinfra_hosts(deployment, __file__)
