"""What a model claims: an architecture, an engine with its settings, and how it is counted."""

from __future__ import annotations

from dataclasses import dataclass, replace

from deploy.catalog import Model
from deploy.errors import every
from deploy.sizing import DeclaredModel, Device, SizingRequest, Speculation
from deploy.sizing.arrangement import DEFAULT_CONTEXT_TOKENS
from deploy.spec import EngineSpec, ModelSpec

COMPLETION_CONTEXT_TOKENS = 2048
"""Requests of editors are short: what stands around the cursor."""
DEFAULT_SLOTS = 2
"""Requests at once of engines that keep a fixed context for each."""
UNKNOWN_LIMIT = 10_000_000
"""Tokens of context of a model that nothing is known of: its engine knows."""
LITTLE_CONTEXT_TOKENS = 2048
"""Tokens of context that leave nearly all memory to weights."""
DEFAULT_LORA_RANK = 16
LEAST_SHARE = 0.05
SHARE_STEP = 0.02
Split = tuple[int, int]
"""``tensor_parallel_size`` and ``pipeline_parallel_size``."""


@dataclass(frozen=True, eq=False)
class Claim:
    """One model of the deployment, ready to be sized."""

    index: int
    """Which of the deployment's models."""
    model: ModelSpec
    """As declared."""
    engine: EngineSpec
    """How it is served."""
    entry: Model | None
    """Its row of the catalogue."""
    roles: tuple[str, ...]
    """What it is for."""
    context_tokens: int
    """Tokens of a request, as users are counted."""
    max_model_len: int | None
    """Longest request, where declared."""
    declared: DeclaredModel | None = None
    """What sizing knows of it; ``None`` on a CPU."""
    quantization: str | None = None
    """How its weights are kept; ``None`` for as published."""
    engine_version: str = ""
    """Version of the engine, where sizing knows its versions."""
    speculation: Speculation | None = None
    """What drafts its tokens, as far as sizing is concerned."""
    users: int | None = None
    """Requests at once that speeds are estimated for; as many as fit by default."""
    together: tuple[Claim, ...] = ()
    """All models of the Ollama that this one shares, in whose place it is placed."""

    @property
    def path(self) -> str:
        """Where it stands in the inventory."""
        return f"models[{self.index}]"

    @property
    def name(self) -> str:
        """What clients ask for."""
        return self.model.served_name

    @property
    def title(self) -> str:
        """What is placed: a model, or the models of a shared Ollama."""
        return every(each.name for each in self.together) or self.name

    @property
    def names(self) -> tuple[str, ...]:
        """What clients ask its engine for."""
        return tuple(each.name for each in self.together) or (self.name,)

    @property
    def context_limit(self) -> int:
        """Tokens of context that the model was made for."""
        return context_limit(self.entry, self.declared)

    @property
    def slots(self) -> int | None:
        """Requests at once of one replica, where declared; never ``None`` of slots."""
        declared = self.model.max_num_seqs or self.engine.max_num_seqs
        return declared or (None if self.engine.traits.shares_cache else DEFAULT_SLOTS)

    @property
    def utilization(self) -> float:
        """Share of a GPU's memory that engines take together."""
        return self.engine.gpu_memory_utilization

    @property
    def share(self) -> float | None:
        """Share of a GPU's memory that each replica takes, where declared."""
        gpus = self.model.gpus
        return gpus if gpus is not None and gpus < 1 else None

    @property
    def gpu_count(self) -> int | None:
        """GPUs of each host for itself, where declared."""
        gpus = self.model.gpus
        return int(gpus) if gpus is not None and gpus >= 1 else None

    def shares(self, most: float) -> tuple[float, ...]:
        """Shares of a card that it may have next to others."""
        if self.share is not None:
            return (self.share,) if self.share <= most + 1e-9 else ()
        count = int((most - LEAST_SHARE) / SHARE_STEP + 1e-9) + 1
        return tuple(round(LEAST_SHARE + SHARE_STEP * step, 2) for step in range(max(count, 0)))

    @property
    def with_little_context(self) -> Claim:
        """The same with short requests, whatever is declared: what its weights alone need."""
        return replace(self, context_tokens=LITTLE_CONTEXT_TOKENS, max_model_len=None)

    def request(
        self, device: Device, gpus: int, share: float, split: Split | None
    ) -> SizingRequest:
        """What sizing is asked of one replica.

        Args:
            device: each of its GPUs.
            gpus: how many it has.
            share: the part of each GPU's memory that it takes.
            split: how its layers are shared out; ``None`` for what is declared, or sizing's choice.
        """
        assert self.declared is not None  # noqa: S101 - claims on GPUs are known to sizing
        model, engine, shares = self.model, self.engine, self.engine.traits.shares_cache
        only_stage = None if engine.traits.has_pipelines else 1
        tp, pp = split or (engine.tensor_parallel_size, engine.pipeline_parallel_size or only_stage)
        return SizingRequest(
            model=self.declared.architecture,
            devices=(device,) * gpus,
            engine=engine.kind,
            name=model.name,
            tensor_parallel_size=tp,
            pipeline_parallel_size=pp,
            gpu_memory_utilization=share,
            max_model_len=self.max_model_len,
            dtype=None if engine.dtype == "auto" else engine.dtype,
            quantization=self.quantization,
            kv_cache_dtype=engine.kv_cache_dtype,
            users=self.users if shares else self.slots,
            context_tokens=self.context_tokens,
            weights_gib=model.weights_gib or self.declared.weights_gib,
            max_num_seqs=self.slots,
            max_num_batched_tokens=engine.max_num_batched_tokens,
            engine_version=self.engine_version,
            enforce_eager=engine.enforce_eager,
            speculation=self.speculation,
            enable_expert_parallel=engine.enable_expert_parallel,
            language_model_only=model.language_model_only,
            lora_slots=len(model.lora_adapters),
            lora_rank=model.max_lora_rank or DEFAULT_LORA_RANK,
            flash_attention=None if shares else engine.flash_attn != "off",
            split_mode=engine.split_mode,
            tensor_split=engine.tensor_split if gpus == len(engine.tensor_split) else (),
        )


def context_limit(entry: Model | None, declared: DeclaredModel | None) -> int:
    """Tokens of context that a model was made for.

    Args:
        entry: its row of the catalogue.
        declared: what sizing knows of it.
    """
    if declared is not None:
        return declared.architecture.max_position_embeddings
    return entry.max_model_len if entry else UNKNOWN_LIMIT


def counted_context(
    declared: int | None, roles: tuple[str, ...], max_model_len: int | None, limit: int
) -> int:
    """Tokens of a typical request of a model.

    Args:
        declared: the deployment's ``context_tokens``.
        roles: what the model is for; one that only completes has short requests, and one that
            writes nothing has no longer ones than it reads.
        max_model_len: its longest request, where declared.
        limit: what the model was made for.
    """
    longest = min(max_model_len or limit, limit)
    wanted = declared or min(DEFAULT_CONTEXT_TOKENS, longest)
    if set(roles) == {"completion"}:
        return min(wanted, COMPLETION_CONTEXT_TOKENS)
    writes = set(roles) & {"chat", "completion"}
    return wanted if writes else min(wanted, longest)
