"""What follows from what is declared: what runs where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploy.lazy import export_lazily

if TYPE_CHECKING:
    from deploy.plan.deployment_plan import DeploymentPlan, ReplicaPlan, RouterPlan, WebUIPlan
    from deploy.plan.make_plan import make_plan

__all__ = ["DeploymentPlan", "ReplicaPlan", "RouterPlan", "WebUIPlan", "make_plan"]

PARTS = dict.fromkeys(__all__[:-1], "deploy.plan.deployment_plan")
export_lazily(__name__, {**PARTS, "make_plan": "deploy.plan.make_plan"})
