"""Where Ollama has put a model: it says nothing when it falls back to the CPU.

API: https://docs.ollama.com/api/ps
"""

from __future__ import annotations

from typing import Any

import httpx

from deploy.errors import Problem, ServiceError
from deploy.units import GIB

TIMEOUT_SECONDS = 30
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


def gpu_share(base_url: str, model: str, vendor: str = "") -> str:
    """Ask which part of a loaded model is on GPUs.

    Args:
        base_url: address of Ollama.
        model: what it calls the model, which has just answered.
        vendor: who made the GPUs; of ``apple``, the part on them is what Metal computes.

    Raises:
        ServiceError: if all of it, or a part, is on the CPU.
    """
    reply = httpx.get(f"{base_url}/api/ps", timeout=TIMEOUT_SECONDS)
    reply.raise_for_status()
    loaded: list[dict[str, Any]] = reply.json()["models"]
    found = next((row for row in loaded if row["model"] == model), None)
    if found is None:
        raise ServiceError(Problem(model, "is not loaded although it has just answered"))
    is_mac = vendor == "apple"
    no_gpu, too_little = (NO_METAL, NO_METAL) if is_mac else (NO_GPU, TOO_LITTLE)
    size, on_gpus = int(found["size"]), int(found["size_vram"])
    if on_gpus == 0:
        raise ServiceError(Problem(model, "runs on the CPU", "on the declared GPU", no_gpu))
    if on_gpus < size:
        share = f"{100 - on_gpus * 100 // size} % of it on the CPU"
        raise ServiceError(Problem(model, share, "all of it on the declared GPU", too_little))
    return f"all of it{' by Metal' if is_mac else ''}, {size / GIB:.1f} GiB"
