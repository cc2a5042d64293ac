"""Which files of a repository vLLM needs: one set of weights, and what is not weights.

Follows vLLM's own loader: safetensors before ``.bin`` before ``.pt``, nothing below ``original/``,
and nothing of the training
(https://github.com/vllm-project/vllm/blob/main/vllm/model_executor/model_loader/default_loader.py,
``_prepare_weights``; ``download_weights_from_hf`` and ``filter_files_not_needed_for_inference`` in
``weight_utils.py``; ``ignore_patterns`` in ``vllm/config/load.py``). Where a repository has its
weights twice, as ``model-*.safetensors`` and as ``consolidated*.safetensors``, the first set alone
is fetched: vLLM takes the second where it is there, so that either set serves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatch
from pathlib import PurePosixPath

from deploy.hub.listing import HubFile

IGNORED = ("original/*", ".git*", "*/.git*")
"""vLLM's ``ignore_patterns``, and what belongs to git."""
WEIGHTS = (".safetensors", ".bin", ".pt")
"""What vLLM loads, the best first."""
FOREIGN = (
    *(".pth", ".gguf", ".ggml", ".h5", ".msgpack", ".onnx", ".onnx_data", ".ot", ".tflite"),
    *(".ckpt", ".mlmodel", ".mlpackage", ".npz", ".engine", ".llamafile"),
)
"""Weights of other engines and frameworks."""
TRAINING = ("training_args.bin", "optimizer.bin", "optimizer.pt", "scheduler.pt", "scaler.pt")
"""``.bin`` and ``.pt`` files that are no weights."""
CONSOLIDATED = "consolidated*.safetensors"
SAFETENSORS_FORMATS = {"safetensors", "fastsafetensors", "runai_streamer", "instanttensor"}
"""Of ``--load-format``, those that load safetensors and nothing else."""


def needed_files(files: Iterable[HubFile], load_format: str = "auto") -> tuple[HubFile, ...]:
    """The files that vLLM needs; none of weights if there are none that it loads.

    Args:
        files: all files of the repository.
        load_format: vLLM's ``--load-format``.
    """
    rest = [file for file in files if not any(fnmatch(file.path, at) for at in IGNORED)]
    if load_format not in {"auto", "hf", "mistral", "pt", *SAFETENSORS_FORMATS}:
        # formats of their own, e.g. sharded_state: only the loader knows what it reads
        return tuple(rest)
    chosen = _weights(rest, load_format)
    others = (file for file in rest if not _is_weights(file))
    return tuple(sorted((*chosen, *others), key=lambda file: file.path))


def has_weights(files: Iterable[HubFile]) -> bool:
    """Whether there are weights that vLLM loads among these."""
    return any(PurePosixPath(file.path).suffix in WEIGHTS for file in files)


def _weights(files: list[HubFile], load_format: str) -> list[HubFile]:
    ranks: list[Callable[[HubFile], bool]] = [
        lambda file: _ends(file, ".safetensors") and not _is_consolidated(file),
        _is_consolidated,
    ]
    if load_format == "mistral":
        ranks = ranks[1:]
    elif load_format == "pt":
        ranks = [lambda file: _ends(file, ".pt")]
    elif load_format not in SAFETENSORS_FORMATS:
        ranks += [lambda file: _ends(file, ".bin"), lambda file: _ends(file, ".pt")]
    for belongs in ranks:
        found = [file for file in files if belongs(file)]
        if found:
            return found
    return []


def _is_weights(file: HubFile) -> bool:
    return any(_ends(file, suffix) for suffix in (*WEIGHTS, *FOREIGN)) or _is_training(file)


def _is_training(file: HubFile) -> bool:
    return PurePosixPath(file.path).name in TRAINING


def _ends(file: HubFile, suffix: str) -> bool:
    return file.path.endswith(suffix) and not _is_training(file)


def _is_consolidated(file: HubFile) -> bool:
    return fnmatch(PurePosixPath(file.path).name, CONSOLIDATED)
