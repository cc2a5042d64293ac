"""What is deployed, in which order.

Run: pyinfra inventories/demo.py deploy.py
"""

from deploy.tasks import (
    docker,
    drivers,
    images,
    mac,
    people,
    precheck,
    secrets,
    units,
    verify,
)
from deploy.tasks.current import current_deployment

deployment = current_deployment()

precheck.check(deployment)
drivers.install(deployment)
docker.install(deployment)
mac.set_up(deployment)
secrets.keep(deployment)
images.provide(deployment)
drivers.prove(deployment)
units.prepare(deployment)
units.converge(deployment)
people.keep(deployment)
verify.ask(deployment)
