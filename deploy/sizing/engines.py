"""The engines that are sized: the version that each is sized as, and how each is asked."""

from __future__ import annotations

from deploy.sizing import sglang, tensorrt_llm, tgi
from deploy.sizing.gguf import size_gguf
from deploy.sizing.release import DEFAULT_VERSION
from deploy.sizing.request import Sizing, SizingRequest
from deploy.sizing.size_model import size_model
from deploy.spec.engine_kinds import ENGINES, EngineKind

DEFAULT_VERSIONS: dict[EngineKind, str] = {
    "sglang": sglang.VERSION,
    "tensorrt_llm": tensorrt_llm.VERSION,
    "tgi": tgi.VERSION,
    "vllm": DEFAULT_VERSION,
}
"""Of engines whose memory depends on it."""


def size_request(request: SizingRequest) -> Sizing:
    """Size a model for the engine that is asked for.

    Raises:
        PlanError: if the request contradicts itself.
    """
    shares_cache = ENGINES[request.engine].shares_cache
    return size_model(request) if shares_cache else size_gguf(request)
