"""The router: one address and one key for every model."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import ByteSize, Field, model_validator

from deploy.spec.aristote import AristoteSpec
from deploy.spec.base import MemoryLimit, Spec, refusal
from deploy.spec.endpoint import EndpointSpec
from deploy.spec.secrets import refuse_own_variables
from deploy.units import GIB

RouterKind = Literal["aristote", "litellm"]
OF_LITELLM = (
    *("aliases", "fallbacks", "num_retries", "prices", "priorities"),
    *("recycle_at", "request_log_days", "stream_timeout_seconds"),
)
"""Settings that Aristote has nothing like."""


class PriceSpec(Spec):
    """What a model costs, in any currency: what budgets are spent in."""

    input: float = Field(ge=0, le=1e6)
    """For a million tokens of prompts."""
    output: float = Field(ge=0, le=1e6)
    """For a million tokens of answers."""


class RouterSpec(EndpointSpec):
    """How requests reach the engines."""

    own_variables: ClassVar[dict[str, str]] = {
        "ATELIER_REPLICA": "",
        "PYTHONPATH": "",
        "LITELLM_MASTER_KEY": "secrets={'router_master_key': Secret(...)}",
        "DATABASE_URL": "postgres=Postgres(router_database_url=Secret(...))",
        "LITELLM_SALT_KEY": "secrets={'router_salt_key': Secret(...)}",
        "REDIS_URL": "valkey=Valkey(url=Secret(...))",
    }

    kind: RouterKind = "litellm"
    """Which router: ``aristote`` is Aristote Dispatcher, with RabbitMQ."""
    aristote: AristoteSpec | None = None
    """What only Aristote has, e.g. ``Aristote(max_parallel_requests=16)``."""
    models: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Of two routers: the served models that this one answers for. By default Aristote answers for
    all but those that only complete code, and LiteLLM for those that complete code; for all where
    it is the main one."""
    host: str | None = None
    """Name of the host that it runs on; the first by default."""
    replicas: int = Field(default=1, ge=1, le=16)
    """How many of it run; several are changed one after the other."""
    drain_seconds: int = Field(default=120, ge=0, le=7200)
    """How long answers that have begun may go on before one of several is replaced; meanwhile the
    entry sends new requests to the others."""
    port: int = Field(default=4000, ge=1, le=65535)
    """Port on the host; of several routers, the first one's. An entry reaches them without it."""
    memory_limit: MemoryLimit = ByteSize(2 * GIB)
    """Memory limit of the container, e.g. ``2GiB``."""
    recycle_at: float | None = Field(default=0.8, ge=0.3, le=0.9)
    """Share of ``memory_limit`` above which a replica finishes what it has begun and starts again,
    because LiteLLM gives no memory back; ``None`` for never."""
    num_retries: int = Field(default=2, ge=0, le=10)
    """How often a failed request is sent again, to another replica where there is one."""
    request_timeout_seconds: int = Field(default=600, ge=1, le=7200)
    """How long a whole request may take."""
    stream_timeout_seconds: int | None = Field(default=None, ge=1, le=7200)
    """How long a stream may be silent, until its first token and after it; 60 for a model on GPUs
    and 300 for one on a CPU, unless set."""
    request_log_days: int = Field(default=30, ge=1, le=3650)
    """How many days the database keeps a row of about 4 KB for each request: who, when, which
    model, how many tokens, no text. What ``atelier usage`` shows stays."""
    aliases: dict[str, str] = Field(default_factory=dict)
    """Other names that clients may ask for, and the served model that answers, e.g.
    ``{"gpt-4o": "qwen2.5-coder-32b"}``."""
    fallbacks: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Served models that are asked, in this order, when every replica of one has failed."""
    prices: dict[str, PriceSpec] = Field(default_factory=dict)
    """Prices of served models, e.g. ``{"qwen2.5-coder-32b": Price(input=0.5, output=1.5)}``."""
    priorities: dict[str, int] = Field(default_factory=dict)
    """By name that clients ask for, a model or an alias; requests with lower numbers are answered
    first, where the model's engine has ``scheduling_policy="priority"``."""

    @property
    def dispatch(self) -> AristoteSpec:
        """What only Aristote has: as declared, else as it is without."""
        return self.aristote or AristoteSpec()

    @model_validator(mode="after")
    def _settings_are_the_routers(self) -> RouterSpec:
        """Refuse what the other router has."""
        if self.kind == "litellm":
            if self.aristote:
                raise refusal(
                    "aristote is declared, and the router is LiteLLM",
                    "aristote of Aristote Dispatcher alone",
                    "remove aristote, or declare kind='aristote'",
                )
            return self
        foreign = [name for name in OF_LITELLM if name in self.model_fields_set]
        if foreign:
            raise refusal(
                f"{', '.join(foreign)}: Aristote Dispatcher has nothing like it",
                "settings that it has; they are in docs/aristote.md",
                f"remove {', '.join(foreign)}, or declare kind='litellm'",
            )
        own = AristoteSpec.own_variables
        any_case = {name: own[name.upper()] for name in self.env if name.upper() in own}
        refuse_own_variables(self.env, any_case)
        return self
