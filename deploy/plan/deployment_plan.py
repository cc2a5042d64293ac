"""What a plan consists of."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from deploy.model_files import ModelFile
from deploy.spec import EngineSpec, RouterSpec, WebUISpec


class PlanPart(BaseModel):
    """Something a plan decided: immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ReplicaPlan(PlanPart):
    """One replica of a model: an engine on a host."""

    host: str
    """Name of the host."""
    index: int
    """Which replica of its model, from 0."""
    model: str
    """Name of the model."""
    served_model_name: str
    """What clients ask for."""
    file: ModelFile
    """The weights."""
    engine: EngineSpec
    """How it is served."""
    max_model_len: int
    """Context length in tokens of one request."""
    max_num_seqs: int
    """Requests answered at the same time."""
    memory_limit_bytes: int
    """Memory limit of its container."""
    extra_args: tuple[str, ...]
    """Arguments added to the engine's command line."""


class RouterPlan(PlanPart):
    """Where the router runs."""

    host: str
    """Name of the host."""
    spec: RouterSpec
    """How it is declared."""


class WebUIPlan(PlanPart):
    """Where the web UI runs."""

    host: str
    """Name of the host."""
    spec: WebUISpec
    """How it is declared."""


class DeploymentPlan(PlanPart):
    """What runs where."""

    name: str
    """Name of the deployment."""
    replicas: tuple[ReplicaPlan, ...]
    """Every replica of every model."""
    router: RouterPlan
    """The router."""
    web_ui: WebUIPlan | None
    """The web UI, if there is one."""

    @property
    def served_models(self) -> list[str]:
        """What clients can ask for, in the order of declaration."""
        return list(dict.fromkeys(replica.served_model_name for replica in self.replicas))
