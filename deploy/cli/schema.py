"""``atelier schema``: what a deployment may declare, for sites that generate inventories."""

from __future__ import annotations

from deploy.cli.output import print_json


def schema() -> None:
    """Print the JSON Schema of a deployment.

    It describes what Deployment(...) takes in Python, and what a file in YAML may hold.
    """
    from deploy.spec import DeploymentSpec  # only this verb pays for importing it

    print_json(DeploymentSpec.model_json_schema())
