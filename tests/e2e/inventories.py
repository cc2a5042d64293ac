"""The project's own inventories, as other deployments: with names, ports or hosts of their own."""

from __future__ import annotations

import runpy
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.names import CHECKOUT, PROJECT
from tests.e2e.site import Settings, free_port

TEMPLATE = """
import runpy

from deploy import pyinfra_hosts

shipped = runpy.run_path({shipped!r})["deployment"]
deployment = shipped.model_copy(
    update={{
        "name": {name!r},
        "router": shipped.router.model_copy(update={{"port": {router_port}}}),
        "web_ui": shipped.web_ui.model_copy(update={{"port": {web_ui_port}}}),
    }}
)
hosts = pyinfra_hosts(deployment, __file__)
"""


@dataclass(frozen=True)
class Copy:
    """A shipped inventory that runs beside the deployment it describes."""

    name: str
    inventory: Path
    router_url: str
    web_ui_url: str


def copy_of(stem: str, directory: Path) -> Copy:
    """Write an inventory that differs from a shipped one in its name and its ports."""
    name, router, web_ui = f"{stem}-{CHECKOUT}", free_port(), free_port()
    inventory = directory / f"{stem}.py"
    inventory.write_text(
        TEMPLATE.format(
            shipped=str(PROJECT / "inventories" / f"{stem}.py"),
            name=name,
            router_port=router,
            web_ui_port=web_ui,
        )
    )
    return Copy(name, inventory, f"http://127.0.0.1:{router}", f"http://127.0.0.1:{web_ui}")


def shipped(stem: str) -> Settings:
    """What a shipped inventory declares, with the defaults of its profile."""
    declared = runpy.run_path(str(PROJECT / f"inventories/{stem}.py"))["deployment"]
    settings = declared.model_dump(mode="json", exclude_unset=True)
    return {name: value for name, value in settings.items() if value is not None}
