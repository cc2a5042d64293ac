"""The command line of llama-server.

Flags: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from deploy.plan.replica_plan import ReplicaPlan
from deploy.spec.engine_settings import QUANTISED_CACHES

DEVICES = {"nvidia": "CUDA", "amd": "ROCm", "apple": "MTL"}
VULKAN = "Vulkan"
"""What llama.cpp calls the GPUs of each of its backends, followed by their number; Metal has one
since builds of 2026 (``llama-server --list-devices``)."""


@dataclass(frozen=True)
class Files:
    """What llama-server loads, as it sees it."""

    model: PurePosixPath
    draft: PurePosixPath | None = None
    """The model that drafts tokens, if one does."""


def arguments(replica: ReplicaPlan, files: Files, listens: tuple[str, int]) -> tuple[str, ...]:
    """What llama-server is started with.

    ``--ctx-size`` is shared out over the slots, so it is the context of one request times the
    slots.

    Args:
        replica: what is served.
        files: its files.
        listens: address and port.
    """
    threads = ("--threads", str(replica.engine.threads)) if replica.engine.threads else ()
    return (
        *("--model", str(files.model), "--alias", replica.served_model_name),
        *("--host", listens[0], "--port", str(listens[1])),
        *("--ctx-size", str(replica.max_model_len * replica.max_num_seqs)),
        *("--parallel", str(replica.max_num_seqs)),
        *threads,
        *(_on_gpus(replica) if replica.gpus else _attention(replica)),
        *_drafts(replica, files.draft),
        *("--metrics", "--no-webui"),
        *replica.extra_args,
    )


def _attention(replica: ReplicaPlan) -> tuple[str, ...]:
    """On CPUs: what is declared; llama.cpp decides the rest."""
    engine = replica.engine
    flash = engine.flash_attn
    if flash == "auto" and engine.kv_cache_dtype in QUANTISED_CACHES:
        flash = "on"
    said = () if flash == "auto" else ("--flash-attn", flash)
    return (*said, *_cache(replica))


def _cache(replica: ReplicaPlan) -> tuple[str, ...]:
    dtype = replica.engine.kv_cache_dtype
    return () if dtype == "auto" else ("--cache-type-k", dtype, "--cache-type-v", dtype)


def _on_gpus(replica: ReplicaPlan) -> tuple[str, ...]:
    """All layers, on these GPUs and no others, as they are sized.

    Devices are named, since llama-server does not start where one of them is not there; without
    names it would serve on the CPU. With ``--fit on`` it would shrink what is not declared.
    """
    assert replica.llama_cpp is not None  # noqa: S101 - a plan with llama.cpp on GPUs says how
    return (
        *("--device", ",".join(_devices(replica)), "--n-gpu-layers", "all", "--fit", "off"),
        *_split(replica),
        *("--flash-attn", "on" if replica.llama_cpp.flash_attention else "off"),
        *_cache(replica),
        *("--no-kv-unified", "--jinja"),
    )


def _drafts(replica: ReplicaPlan, draft: PurePosixPath | None) -> tuple[str, ...]:
    """What drafts tokens; a draft model lies on the same GPUs, all of it.

    https://github.com/ggml-org/llama.cpp/blob/master/docs/speculative.md
    """
    said = replica.speculative
    if said is None:
        return ()
    tokens = str(said.num_speculative_tokens)
    if draft is None:
        return ("--spec-type", "ngram-simple", "--spec-ngram-simple-size-m", tokens)
    layers = ("--spec-draft-ngl", "all") if replica.gpus else ()
    drafts = ("--spec-type", "draft-simple", "--spec-draft-model", str(draft))
    return (*drafts, "--spec-draft-n-max", tokens, *layers)


def _devices(replica: ReplicaPlan) -> list[str]:
    is_vulkan = replica.engine.backend == "vulkan"
    name = VULKAN if is_vulkan else DEVICES[replica.gpu_vendor]
    return [f"{name}{number}" for number in range(len(replica.gpus))]


def _split(replica: ReplicaPlan) -> tuple[str, ...]:
    engine = replica.engine
    if len(replica.gpus) == 1:
        return ("--split-mode", "none", "--main-gpu", "0")
    parts = engine.tensor_split or (1,) * len(replica.gpus)
    shares = ",".join(f"{part:g}" for part in parts)
    main = ("--main-gpu", "0") if engine.split_mode == "row" else ()
    return ("--split-mode", engine.split_mode, *main, "--tensor-split", shares)
