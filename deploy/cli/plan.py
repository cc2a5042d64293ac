"""``atelier plan``: what would run where, for how many, before any machine is touched."""

from __future__ import annotations

from deploy.catalog import load_catalog
from deploy.cli.options import InventoryArgument, JsonOption
from deploy.cli.output import console, print_json


def plan(inventory: InventoryArgument, as_json: JsonOption = False) -> None:
    """Show hosts, GPUs, replicas with their reasons, memory, and what each user gets.

    No host, no Docker, no network and no secrets are needed. JSON: see
    docs/reference-plan.md.
    """
    from deploy.cli.cost_text import cost_text, cost_to_json
    from deploy.cli.plan_text import plan_text
    from deploy.cost import Rates
    from deploy.inventory import load_inventory
    from deploy.model_files import read_model_files
    from deploy.plan.make_plan import make_plan
    from deploy.plan.plan_cost import plan_cost
    from deploy.plan.to_json import plan_to_json

    declared, catalog = load_inventory(inventory), load_catalog()
    files = read_model_files(declared.spec, catalog, declared.directory)
    made = make_plan(declared.spec, catalog, files, declared.directory)
    cost = plan_cost(made, catalog, Rates())
    if as_json:
        print_json(plan_to_json(made) | {"cost": cost_to_json(cost)})
    else:
        for line in (*plan_text(made), *cost_text(cost)):
            console.print(line, soft_wrap=True)
