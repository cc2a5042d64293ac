"""Where Ollama has put a model: it says nothing when it falls back to the CPU.

API: https://docs.ollama.com/api/ps
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from deploy.errors import Problem, ServiceError
from deploy.live.checks import Answer
from deploy.plan.replica_plan import ReplicaPlan
from deploy.units import GIB

TIMEOUT_SECONDS = 30
TRIES = 3
UNLOADED = (
    "it was unloaded for another model each time before its GPU could be looked at: run it again"
    " when no one uses the others"
)
NO_GPU = (
    "run nvidia-smi (rocm-smi) in the container; if it fails: install the GPU's container toolkit,"
    " give Docker the cgroup driver cgroupfs (docker='distribution' or 'upstream' has Atelier do"
    " so), and restart the container"
)
TOO_LITTLE = (
    "other programs may hold the GPU's memory: see nvidia-smi (rocm-smi), and restart the"
    " container; else declare a smaller max_model_len, max_num_seqs or quantization"
)
NO_METAL = (
    "see what Ollama says of Metal: atelier logs INVENTORY SERVICE; its version must be made for"
    " Apple chips, and the host's wired_limit_mib, if declared, must hold the model"
)


class NotLoadedError(ServiceError):
    """A model that has answered is not in memory any more."""


def gpu_share(base_url: str, model: str, vendor: str = "") -> str:
    """Ask which part of a loaded model is on GPUs.

    Args:
        base_url: address of Ollama.
        model: what it calls the model, which has just answered.
        vendor: who made the GPUs; of ``apple``, the part on them is what Metal computes.

    Raises:
        NotLoadedError: if it is not in memory any more.
        ServiceError: if all of it, or a part, is on the CPU.
    """
    reply = httpx.get(f"{base_url}/api/ps", timeout=TIMEOUT_SECONDS)
    reply.raise_for_status()
    loaded: list[dict[str, Any]] = reply.json()["models"]
    found = next((row for row in loaded if row["model"] == model), None)
    if found is None:
        raise NotLoadedError(Problem(model, "is not loaded although it has just answered"))
    is_mac = vendor == "apple"
    no_gpu, too_little = (NO_METAL, NO_METAL) if is_mac else (NO_GPU, TOO_LITTLE)
    size, on_gpus = int(found["size"]), int(found["size_vram"])
    if on_gpus == 0:
        raise ServiceError(Problem(model, "runs on the CPU", "on the declared GPU", no_gpu))
    if on_gpus < size:
        share = f"{100 - on_gpus * 100 // size} % of it on the CPU"
        raise ServiceError(Problem(model, share, "all of it on the declared GPU", too_little))
    return f"all of it{' by Metal' if is_mac else ''}, {size / GIB:.1f} GiB"


def answer_and_share(
    ask: Callable[[], str], base_url: str, model: str, replica: ReplicaPlan
) -> str | Answer:
    """Ask a model, and then where it is; one of a shared Ollama again if another took its place.

    Args:
        ask: asks the model, and returns its answer.
        base_url: address of Ollama.
        model: what it calls the model.
        replica: the model's replica.

    Raises:
        ServiceError: if it is not, or not whole, on its GPUs.
    """
    for _ in range(TRIES):
        answer = ask()
        try:
            return f"{answer}; on its GPU: {gpu_share(base_url, model, replica.gpu_vendor)}"
        except NotLoadedError:
            if not replica.engine.shared:
                raise
    return Answer(answer, UNLOADED)
