"""The plans of the profiles, as files; docs/plans.md is made of the same text."""

import io
import json
from pathlib import Path

from rich.console import Console

from deploy.catalog import load_catalog
from deploy.cli.cost_text import cost_text, cost_to_json
from deploy.cli.plan_text import plan_text
from deploy.cost import Rates
from deploy.inventory import load_inventory
from deploy.model_files import read_model_files
from deploy.plan.deployment_plan import DeploymentPlan
from deploy.plan.make_plan import make_plan
from deploy.plan.plan_cost import plan_cost
from deploy.plan.to_json import plan_to_json

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
DOCUMENT = ROOT / "docs" / "plans.md"
INVENTORIES = {
    "demo": "individual: the demo, a tiny model on this machine's CPU",
    "individual": "individual: one workstation with a GeForce RTX 4090",
    "users_20": "20-users: one machine with 2 RTX 5090",
    "users_100": "100-users: two servers with 2 RTX PRO 6000 each",
    "mac_studio": "individual: a Mac Studio with the models, and a machine with Linux",
}
ALL = (*INVENTORIES, "aristote", "both_routers", "prod")
"""With those that have another router, and the one that sites copy: the demo by another name."""
HEAD = """# The plans of the profiles

`make golden` writes this page, and a test keeps it true. How a plan is made: [the
plan](reference-plan.md).
"""


def plan_of(name: str) -> DeploymentPlan:
    """The plan of an inventory."""
    declared, catalog = load_inventory(ROOT / "inventories" / f"{name}.py"), load_catalog()
    files = read_model_files(declared.spec, catalog, declared.directory)
    return make_plan(declared.spec, catalog, files, declared.directory)


def text_of(plan: DeploymentPlan) -> str:
    """What a terminal of 80 columns without colours shows."""
    console = Console(file=io.StringIO(), width=80, color_system=None, highlight=False)
    cost = plan_cost(plan, load_catalog(), Rates())
    for line in (*plan_text(plan), *cost_text(cost)):
        console.print(line, soft_wrap=True)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def json_of(plan: DeploymentPlan) -> str:
    """What ``--json`` prints."""
    cost = cost_to_json(plan_cost(plan, load_catalog(), Rates()))
    return json.dumps(plan_to_json(plan) | {"cost": cost}, indent=2) + "\n"


def document() -> str:
    """docs/plans.md."""
    parts = []
    for name, title in INVENTORIES.items():
        command = f"atelier plan inventories/{name}.py"
        parts.append(f"\n## {title}\n\n`{command}`\n\n```\n{text_of(plan_of(name))}```\n")
    return HEAD + "".join(parts)
