"""Who may use the router, once it runs."""

from pyinfra import host

from deploy.artefacts import Artefacts
from deploy.operations import people


def keep(deployment: Artefacts) -> None:
    """Teams, people and keys, where the router has a database to keep them in."""
    plan = deployment.plan
    if plan.people is not None and host.name == plan.router.host:
        people.declared(name="Keep people and keys", artefacts=deployment, plan=plan.people)
