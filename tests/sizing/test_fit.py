"""Fits is yes, probably or no: published reports that did not start are never called "yes"."""

from __future__ import annotations

import pytest

from deploy.catalog import load_catalog
from deploy.catalog.architecture import read_architecture
from deploy.sizing import Fit, SizingRequest, find_devices, size_gguf, size_model
from deploy.sizing.reasons import ReasonKind
from deploy.units import GIB
from tests.sizing import configs as c
from tests.sizing.out_of_memory import REPORTS, Report
from tests.sizing.out_of_memory_later import LATER
from tests.sizing.published import PUBLISHED, Published

STARTED = [p for p in PUBLISHED if p.max_model_len <= (p.kv_cache_tokens or 10**9)]
"""One log is of a start-up that ended with too long a context (vllm #13061)."""
MODEL = read_architecture(c.LLAMA_8B)


ALL_REPORTS = (*REPORTS, *LATER)


@pytest.mark.parametrize("report", ALL_REPORTS, ids=[report.source for report in ALL_REPORTS])
def test_what_did_not_start_is_never_said_to_fit(report: Report) -> None:
    assert report.size().fits is not Fit.YES


@pytest.mark.parametrize("published", STARTED)
def test_what_started_is_never_said_not_to_fit(published: Published) -> None:
    assert published.size().fits


def test_most_of_what_started_is_said_to_fit() -> None:
    verdicts = [published.size().fits for published in STARTED]
    assert verdicts.count(Fit.YES) >= 0.85 * len(verdicts)


@pytest.mark.parametrize(
    ("length", "fit"), [(8192, Fit.YES), (34000, Fit.PROBABLY), (90000, Fit.NO)]
)
def test_the_longer_the_context_the_less_sure(length: int, fit: Fit) -> None:
    devices = find_devices("rtx-3090", load_catalog())
    sizing = size_model(SizingRequest(MODEL, devices, max_model_len=length))
    assert sizing.fits is fit
    warned = [one for one in sizing.warnings if one.kind is ReasonKind.PROBABLY]
    assert bool(warned) == (fit is Fit.PROBABLY)


def test_a_length_that_is_chosen_fits_for_sure_and_into_what_is_pinned() -> None:
    """8 billion parameters in 16 bits on 24 GB; 2 x 8 KV heads x 128 x 2 bytes x 32 layers."""
    devices = find_devices("rtx-3090", load_catalog())
    sizing = size_model(SizingRequest(MODEL, devices))
    assert sizing.fits is Fit.YES
    needed = sizing.max_model_len * 131072
    assert needed <= sizing.least_kv_cache_gib_per_gpu * GIB
    assert needed <= sizing.pinned_kv_cache_bytes_per_gpu <= sizing.kv_cache_gib_per_gpu * GIB


def test_a_pinned_pool_leaves_room_for_the_error_of_the_estimate() -> None:
    devices = find_devices("rtx-3090", load_catalog())
    for share in (0.5, 0.9, 0.97, 1.0):
        sizing = size_model(SizingRequest(MODEL, devices, gpu_memory_utilization=share))
        used = sizing.weights_gib_per_gpu * 1.01 + sizing.overhead_gib_per_gpu
        used += sizing.overhead.uncertainty_gib + sizing.overhead.outside_gib
        pinned = sizing.pinned_kv_cache_bytes_per_gpu
        assert not pinned or used + pinned / GIB <= sizing.usable_gib_per_gpu + 1e-6


def test_releases_that_cannot_pin_do_not() -> None:
    """``--kv-cache-memory-bytes`` is younger than 0.10."""
    devices = find_devices("h100", load_catalog())
    for version, pins in (("0.10.1", False), ("0.14", True), ("0.27", True)):
        sizing = size_model(SizingRequest(MODEL, devices, engine_version=version))
        assert (sizing.pinned_kv_cache_bytes_per_gpu > 0) == pins


def test_a_gguf_that_barely_fits_probably_does() -> None:
    request = SizingRequest(MODEL, find_devices("rtx-3060", load_catalog()), context_tokens=8192)
    verdicts = [
        size_gguf(SizingRequest(MODEL, request.devices, context_tokens=8192, weights_gib=gib)).fits
        for gib in (8.0, 10.2, 11.5)
    ]
    assert verdicts == [Fit.YES, Fit.PROBABLY, Fit.NO]
