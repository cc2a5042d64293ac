"""What is deployed, in which order.

Run: pyinfra inventories/demo.py deploy.py
"""

from deploy.services import Tier
from deploy.tasks import (
    barrier,
    components,
    docker,
    images,
    orphans,
    precheck,
    secrets,
    verify,
)
from deploy.tasks.current import current_deployment

deployment = current_deployment()

precheck.check(deployment)
docker.install(deployment)
secrets.keep(deployment)
images.provide(deployment)
components.prepare(deployment)

components.run(deployment, Tier.ENGINE)
barrier.wait("engines")
components.run(deployment, Tier.ROUTER)
barrier.wait("routers")
components.run(deployment, Tier.WEB_UI)
barrier.wait("web UIs")

orphans.remove(deployment)
verify.ask(deployment)
