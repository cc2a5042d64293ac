"""Reasons are data: kinds, figures and remedies; sentences are made of them in one place."""

from __future__ import annotations

import json
import string
from typing import Any

from deploy.catalog import load_catalog
from deploy.catalog.architecture import read_architecture
from deploy.sizing import Sizing, SizingRequest, find_devices, size_gguf, size_model, sizing_to_json
from deploy.sizing.reasons import Reason, ReasonKind, RemedyKind
from deploy.sizing.reasons_text import INVENTORY, REASONS, REMEDIES, cause_text, reason_text
from tests.sizing import configs as c

BY_FUNCTION = {ReasonKind.CHOSEN, ReasonKind.KV_HEADS}
REQUESTS: list[tuple[c.Config, str, dict[str, Any]]] = [
    (c.QWEN2_32B, "l40s", {}),
    (c.QWEN2_32B, "4x l40s", {"users": 5000}),
    (c.QWEN2_7B, "3x h100, rtx-3060", {"gpu_memory_utilization": 0.3}),
    (c.QWEN2_7B, "8x h100", {"tensor_parallel_size": 8}),
    (c.QWEN2_7B, "h100", {"max_model_len": 65536}),
    (c.QWEN2_7B, "h100", {"max_model_len": 8192, "context_tokens": 16384}),
    (c.QWEN2_7B, "t4", {"dtype": "bfloat16", "kv_cache_dtype": "fp8"}),
    (c.QWEN2_7B, "mac-studio-256", {}),
    (c.QWEN2_7B, "mi210", {"quantization": "fp8"}),
    ({**c.GEMMA3_27B, **c.AWQ}, "2x rtx-3090", {"quantization": "fp8", "kv_cache_dtype": "fp8"}),
    (c.GPT_OSS_20B, "a100-80", {"pipeline_parallel_size": 2}),
    (c.GPT_OSS_20B, "2x v100-32", {"pipeline_parallel_size": 64}),
]


def sizings() -> list[Sizing]:
    """Sizings that have something to say of many kinds."""
    catalog, found = load_catalog(), []
    for config, gpus, more in REQUESTS:
        request = SizingRequest(read_architecture(config), find_devices(gpus, catalog), **more)
        found.append(size_model(request))
        if "quantization" not in more:
            found.append(size_gguf(request))
    return found


def said(sizing: Sizing) -> list[Reason]:
    """Everything a sizing says."""
    limit = [sizing.at_the_limit] if sizing.at_the_limit else []
    rejected = [one.reason for one in sizing.rejected]
    return [*sizing.reasons, *sizing.warnings, *rejected, *limit]


def test_every_kind_has_a_sentence() -> None:
    assert set(REASONS) | BY_FUNCTION == set(ReasonKind)
    assert set(REMEDIES) == set(RemedyKind)


def test_every_reason_has_the_figures_of_its_sentence() -> None:
    reasons = [reason for sizing in sizings() for reason in said(sizing)]
    assert len({reason.kind for reason in reasons}) >= 20
    for reason in reasons:
        text = reason_text(reason, INVENTORY)
        assert "--" not in text
        if reason.kind not in BY_FUNCTION:
            fields = {name for _, name, _, _ in string.Formatter().parse(REASONS[reason.kind])}
            named = {name for name in fields if name and not name.startswith("set[")}
            assert named - {"causes"} == set(reason.figures)


def test_a_sentence_spells_settings_as_its_reader_does() -> None:
    catalog = load_catalog()
    model = read_architecture(c.QWEN2_7B)
    sizing = size_model(SizingRequest(model, find_devices("h100", catalog), max_model_len=65536))
    (reason,) = sizing.reasons
    assert reason.figures == {"limit": 32768, "tokens": 65536}
    assert [way.kind for way in reason.remedies] == [RemedyKind.SHORTER_CONTEXT]
    assert reason_text(reason).endswith("--max-model-len is 65536; use --max-model-len 32768")
    assert reason_text(reason, INVENTORY).endswith(
        "max_model_len is 65536; use max_model_len 32768"
    )
    assert "; use" not in cause_text(reason)


def test_programs_get_reasons_as_data() -> None:
    for sizing in sizings():
        data = json.loads(json.dumps(sizing_to_json(sizing)))
        kinds = [reason.kind.value for reason in sizing.reasons]
        assert [reason["kind"] for reason in data["reason_data"]] == kinds
        assert len(data["warning_data"]) == len(data["warnings"])
