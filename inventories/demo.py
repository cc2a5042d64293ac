"""The demo: a whole stack on this machine, with the tiny model that Atelier carries."""

import os

from deploy import Deployment, Host, Model, inventory

deployment = Deployment(
    name="demo",
    profile="individual",
    hosts=[Host(name="@local", sudo=os.geteuid() != 0)],
    models=[Model(name="tiny-coder")],
    image_source="build",
)

hosts = inventory(deployment, __file__)
