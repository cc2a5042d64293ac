"""What follows from what is declared: what runs where."""

from deploy.plan.deployment_plan import DeploymentPlan, ReplicaPlan, RouterPlan, WebUIPlan
from deploy.plan.make_plan import make_plan

__all__ = ["DeploymentPlan", "ReplicaPlan", "RouterPlan", "WebUIPlan", "make_plan"]
