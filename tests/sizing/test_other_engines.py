"""Every model of the catalogue on cards of every size, with each other engine: no false "fits"."""

from __future__ import annotations

from contextlib import suppress

import pytest

from deploy.catalog import load_catalog
from deploy.catalog.architecture import Architecture, read_architecture
from deploy.errors import AtelierError
from deploy.sizing import Fit, SizingRequest, find_devices
from deploy.sizing.engines import size_request
from deploy.spec.engine_kinds import EngineKind

CATALOG = load_catalog()
CARDS = ("rtx-4090", "2x l40s", "h100", "4x h100", "8x h200", "2x mi300x", "rtx-5090")
LONGEST = 2048
OTHERS: tuple[EngineKind, ...] = ("sglang", "tensorrt_llm", "tgi")


def architectures() -> dict[str, Architecture]:
    """Of the models whose memory is known."""
    found = {}
    for name, model in CATALOG.models.items():
        with suppress(AtelierError):
            found[name] = read_architecture(model.config)
    return found


KNOWN = architectures()


@pytest.mark.parametrize("engine", OTHERS)
@pytest.mark.parametrize("gpus", CARDS)
def test_what_is_said_to_fit_is_within_the_card(engine: EngineKind, gpus: str) -> None:
    devices = find_devices(gpus, CATALOG)
    fitting = 0
    for name, model in KNOWN.items():
        longest = min(LONGEST, model.max_position_embeddings)
        request = SizingRequest(model, devices, name=name, engine=engine, max_model_len=longest)
        sizing = size_request(request)
        assert sizing.fits is not Fit.YES, name
        if not sizing.fits:
            continue
        fitting += 1
        taken = (
            sizing.weights_gib_per_gpu + sizing.overhead_gib_per_gpu + sizing.kv_cache_gib_per_gpu
        )
        assert taken <= 0.9 * sizing.usable_gib_per_gpu + 0.01, name
        held = sizing.kv_cache_tokens * sizing.replicas
        assert sizing.kv_cache_tokens >= sizing.max_model_len == longest, name
        assert sizing.concurrent_users * sizing.context_tokens <= held, name
        if engine == "sglang":
            assert 0 < sizing.details["mem_fraction_static"] <= 1, name
            assert sizing.details["graphed_requests"] <= sizing.max_num_seqs, name
        if engine == "tensorrt_llm":
            assert 0 < sizing.details["free_gpu_memory_fraction"] <= 0.9, name
            assert sizing.details["max_tokens"] > sizing.kv_cache_tokens, name
    refused = {"tensorrt_llm": {"2x mi300x"}, "tgi": {"2x mi300x", "rtx-5090"}}
    assert bool(fitting) is (gpus not in refused.get(engine, set()))
