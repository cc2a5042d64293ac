"""The KV cache in vLLM's log: lines as its releases write them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from deploy.live.connection import Connection
from deploy.live.kv_cache import (
    KvCacheLog,
    kv_cache_text,
    kv_cache_warning,
    read_kv_cache,
    read_log,
)
from deploy.spec import HostSpec
from tests.conftest import MakeArtefacts
from tests.live.fake_engine import FakeEngine

V0_8_BLOCKS = """\
INFO 02-20 00:01:02 executor_base.py:111] # GPU blocks: 127626, # CPU blocks: 13107
INFO 02-20 00:01:02 executor_base.py:116] Maximum concurrency for 2048 tokens per request: 997.08x
"""
V0_8 = """\
INFO 02-19 23:56:55 kv_cache_utils.py:524] GPU KV cache size: 2,042,016 tokens
INFO 02-19 23:56:55 kv_cache_utils.py:527] Maximum concurrency for 2,048 tokens per request: 997.08x
"""
TWO_WORKERS = """\
INFO 06-03 09:12:41 [kv_cache_utils.py:634] GPU KV cache size: 284,848 tokens
INFO 06-03 09:12:41 [kv_cache_utils.py:637] Maximum concurrency for 32,768 tokens per request: 8.69x
INFO 06-03 09:12:41 [kv_cache_utils.py:634] GPU KV cache size: 284,240 tokens
INFO 06-03 09:12:41 [kv_cache_utils.py:637] Maximum concurrency for 32,768 tokens per request: 8.67x
"""
V0_26 = """\
(EngineCore_0 pid=272) INFO 07-01 [kv_cache_utils.py:2177] GPU KV cache size: 106,496 tokens
(EngineCore_0 pid=272) INFO 07-01 [kv_cache_utils.py:2178] Maximum concurrency for 32,768 tokens\
 per request: 3.25x
"""
V0_32_ON_CPU = """\
(Worker pid=282) INFO 11-28 13:35:35 [cpu_worker.py:260] Explicitly set (1.0/7.0) GiB for KV cache\
 on node 0.
(EngineCore pid=214) INFO 11-28 13:35:35 [kv_cache_utils.py:2327] CPU KV cache size: 1,048,576\
 tokens, Maximum concurrency for 2,048 tokens per request: 512.00x
"""
PLANNED = 100_000


@pytest.mark.parametrize(
    ("log", "found"),
    [
        (V0_8_BLOCKS, KvCacheLog(127626 * 16, 2048, 997.08)),
        (V0_8, KvCacheLog(2_042_016, 2048, 997.08)),
        (TWO_WORKERS, KvCacheLog(284_240, 32768, 8.67)),
        (V0_26, KvCacheLog(106_496, 32768, 3.25)),
        (V0_32_ON_CPU, KvCacheLog(1_048_576, 2048, 512.0)),
        ("GPU + host KV cache size: 1,024 tokens", KvCacheLog(1024)),
        ("INFO: Application startup complete.\n", None),
        ("", None),
    ],
    ids=["0.8, blocks", "0.8", "workers", "0.26", "0.32 on CPUs", "host", "nothing", "empty"],
)
def test_lines(log: str, found: KvCacheLog | None) -> None:
    assert read_log(log) == found


def test_text() -> None:
    found = KvCacheLog(106_496, 32768, 3.25)
    assert kv_cache_text(found, 104_928) == (
        "KV cache 106,496 tokens, planned 104,928; 3.2 requests of 32,768 tokens at once"
    )
    assert kv_cache_text(KvCacheLog(1024), 0) == "KV cache 1,024 tokens"


@pytest.mark.parametrize("tokens", [90_000, 95_000, PLANNED, 110_000])
def test_up_to_a_tenth_is_as_planned(tokens: int) -> None:
    assert kv_cache_warning(KvCacheLog(tokens), PLANNED, "vLLM") == ""


def test_more_is_worth_a_warning() -> None:
    assert kv_cache_warning(KvCacheLog(80_000), PLANNED, "vLLM") == (
        "vLLM has 20% less KV cache than planned: fewer people are answered at once than planned:"
        " others may use the memory"
    )
    more = kv_cache_warning(KvCacheLog(150_000), PLANNED, "SGLang")
    assert more.startswith("SGLang has 50% more KV cache")


def test_without_a_plan_nothing_is_wrong() -> None:
    assert kv_cache_warning(KvCacheLog(80_000), 0, "vLLM") == ""


class Started:
    """A container that started an hour after 1970, and what was asked of its log."""

    def __init__(self) -> None:
        self.attrs = {"State": {"StartedAt": "1970-01-01T01:00:00.5Z"}}
        self.asked: dict[str, Any] = {}

    def logs(self, **asked: Any) -> bytes:
        self.asked = asked
        return V0_32_ON_CPU.encode()


HERE = HostSpec(name="@local")


def test_only_the_latest_start_is_read(make: MakeArtefacts) -> None:
    engine = {"kind": "vllm", "start_timeout_seconds": 900}
    [replica] = make(models=[{"name": "qwen2.5-coder-7b"}], engine=engine).plan.replicas
    container = Started()
    client: Any = SimpleNamespace(containers=SimpleNamespace(get=lambda _: container))
    found = read_kv_cache(Connection(HERE, None, lambda: client), "lab-vllm-0", replica)
    assert found == KvCacheLog(1_048_576, 2048, 512.0)
    assert container.asked == {"since": 3600, "until": 4500}


def test_a_container_that_is_gone_has_no_log(make: MakeArtefacts) -> None:
    engine = {"kind": "vllm"}
    [replica] = make(models=[{"name": "qwen2.5-coder-7b"}], engine=engine).plan.replicas
    client: Any = FakeEngine()
    assert read_kv_cache(Connection(HERE, None, lambda: client), "lab-vllm-0", replica) is None


def test_sglangs_log() -> None:
    text = (
        "[2026-11-29 05:14:53 TP0] KV Cache is allocated. dtype: torch.bfloat16, #tokens: 581648\n"
        "[2026-11-29 05:15:02 TP0] max_total_num_tokens=581648, chunked_prefill_size=8192,"
        " max_prefill_tokens=16384, max_running_requests=256, context_len=262144,"
        " available_gpu_mem=9.31 GB\n"
    )
    assert read_log(text) == KvCacheLog(581_648)


def test_tgis_log() -> None:
    text = (
        "2026-11-29T05:14:53.1Z  INFO text_generation_launcher: KV-cache blocks: 456848, size: 1\n"
        "2026-11-29T05:15:02.1Z  INFO text_generation_router_v3: backends/v3/src/lib.rs:137:"
        " Setting max batch total tokens to 456848\n"
    )
    assert read_log(text) == KvCacheLog(456_848)


def test_tensorrt_llms_log() -> None:
    """At first it makes a small one, to take a step with."""
    line = (
        "[TensorRT-LLM][INFO] [MemUsageChange] Allocated {} GiB for max tokens in paged KV cache"
        " ({}).\n"
    )
    text = line.format("0.56", 8224) * 2 + line.format("16.05", 263008) * 2
    assert read_log(text) == KvCacheLog(263_008)
