"""llama.cpp and Ollama: buffers and memory that were published."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploy.catalog import load_catalog
from deploy.catalog.architecture import read_architecture
from deploy.errors import PlanError
from deploy.sizing import Fit, Sizing, SizingRequest, find_devices, size_gguf, size_model
from deploy.sizing.gguf_memory import GgufMemory
from deploy.sizing.reasons import ReasonKind
from deploy.sizing.speculation import Speculation
from deploy.units import GIB
from tests.sizing import configs as c

MIB = 2**20
MODES = ("layer", "row")
MISTRAL_7B = c.config("mistral", "32 4096 32 8 14336 32768 32768")
QWEN2_1_5B = c.config("qwen2", "28 1536 12 2 8960 151936 32768", tie_word_embeddings=True)
CODER_32B_GIB = 19_900_000_000 / GIB
"""qwen2.5-coder:32b of Ollama's library."""
USED_MIB = {2048: 19757, 4096: 20331, 8192: 21683, 16384: 24387, 65536: 47168, 131072: 72590}
"""ollama #9988: what nvidia-smi shows, without flash attention, one slot."""


def memory(config: c.Config, gpus: str = "h200", slots: int = 1, **more: Any) -> GgufMemory:
    """A model on cards that are large enough."""
    devices = find_devices(gpus, load_catalog())
    return GgufMemory(SizingRequest(read_architecture(config), devices, **more), "q4_k_m", slots)


@pytest.mark.parametrize("context", USED_MIB)
def test_ollama_uses_what_was_published(context: int) -> None:
    """Within 2 %; the longest two lie on two cards, each with a context and buffers of its own."""
    gpus = "h200" if context <= 16384 else "2x h200"
    ours = memory(c.QWEN2_32B, gpus, weights_gib=CODER_32B_GIB).needed_bytes(context)
    assert ours / MIB == pytest.approx(USED_MIB[context], rel=0.02)


@pytest.mark.parametrize(("context", "graph", "cache"), [(2048, 164, 256), (32768, 2144, 4096)])
def test_llama_cpp_logs_these_buffers(context: int, graph: float, cache: float) -> None:
    """fedora-copr/logdetective #106: CUDA0 compute buffer and KV self size, to the MiB."""
    ours = memory(MISTRAL_7B)
    assert ours.graph_bytes(context) / MIB == pytest.approx(graph, abs=0.1)
    assert ours.cache_bytes(context) / MIB == cache


def test_short_contexts_are_ruled_by_the_logits() -> None:
    """Ollama's log of a Qwen2 1.5B: memory.graph.full 299.8 MiB, memory.required.kv 224 MiB."""
    ours = memory(QWEN2_1_5B)
    assert ours.graph_bytes(4096) / MIB == pytest.approx(299.8, abs=0.1)
    assert ours.cache_bytes(8192) / MIB == 224


def test_flash_attention_keeps_no_matrix_over_the_context() -> None:
    """By Ollama's list; a quantised cache needs it; Pascal and Maxwell have none."""
    qwen3, qwen2 = memory(c.QWEN3_32B), memory(c.QWEN2_32B)
    assert qwen3.has_flash_attention
    assert not qwen2.has_flash_attention
    assert qwen3.graph_bytes(131072) < qwen2.graph_bytes(131072) / 10
    assert memory(c.QWEN2_32B, kv_cache_dtype="fp8").has_flash_attention
    assert memory(c.QWEN3_8B, "t4").has_flash_attention
    assert memory(c.QWEN2_32B, flash_attention=True).has_flash_attention
    assert not memory(c.QWEN3_8B, flash_attention=False).has_flash_attention
    assert not memory(c.GEMMA2_27B, flash_attention=True).has_flash_attention
    assert not memory(c.DEEPSEEK_V2_LITE, flash_attention=True).has_flash_attention


def test_a_quantised_cache_is_34_bytes_for_32_elements() -> None:
    ratio = memory(c.QWEN2_7B, kv_cache_dtype="fp8").cache_bytes(32768)
    assert ratio / memory(c.QWEN2_7B).cache_bytes(32768) == 34 / 64


def test_sliding_layers_keep_a_window_for_each_slot() -> None:
    """Gemma 3: 52 of 62 layers keep 1024 tokens a slot and a batch (Ollama's GraphSize)."""
    for slots in (1, 4):
        sliding, full = 52 * (1024 * slots + 512), 10 * 131072 * slots
        expected = (sliding + full) * 2 * 16 * 128 * 2
        assert memory(c.GEMMA3_27B, slots=slots).cache_bytes(131072) == expected


def test_slots_share_buffers_that_grow_with_all_their_tokens() -> None:
    one, four = memory(MISTRAL_7B, slots=4), memory(MISTRAL_7B)
    assert one.graph_bytes(8192) == four.graph_bytes(32768)


def test_states_are_kept_in_32_bits() -> None:
    """48 layers of 48 heads of 128 x 128, and a convolution's three last inputs."""
    short = memory(c.QWEN3_6_27B).cache_bytes(1) - 16 * 2 * 4 * 256 * 2
    assert short == 48 * (48 * 128 * 128 + 3 * 10240) * 4


def test_more_than_the_cards_have_is_not_called_a_fit() -> None:
    """ollama #9988: 128k tokens took 70.9 GiB; two cards of 24 GB, and of 32 GB, have less."""
    model = read_architecture({**c.QWEN2_32B, "max_position_embeddings": 131072})
    for gpus in ("2x rtx-4090", "2x rtx-5090"):
        devices = find_devices(gpus, load_catalog())
        request = SizingRequest(model, devices, context_tokens=131072, weights_gib=CODER_32B_GIB)
        sizing = size_gguf(request)
        assert sizing.fits is Fit.NO
        assert [one.kind for one in sizing.reasons] == [ReasonKind.LAYERS_ON_CPU]


def test_the_longest_context_and_the_most_slots_just_fit() -> None:
    devices = find_devices("rtx-4090", load_catalog())
    model = read_architecture(c.QWEN2_7B)
    sizing = size_gguf(SizingRequest(model, devices, context_tokens=8192))
    ours = memory(c.QWEN2_7B, "rtx-4090")
    longest = sizing.max_model_len_that_fits
    assert longest == 32768 or ours.needed_bytes(longest + 1) > ours.total_bytes
    slots = sizing.concurrent_users
    fitting, beyond = (memory(c.QWEN2_7B, "rtx-4090", n) for n in (slots, slots + 1))
    assert fitting.needed_bytes(8192) <= fitting.total_bytes < beyond.needed_bytes(8192)


@pytest.mark.parametrize(("gpus", "tokens"), [("rtx-3060", 4096), ("rtx-5090", 32768)])
def test_ollamas_own_context_follows_its_memory(gpus: str, tokens: int) -> None:
    """docs/context-length.mdx: 4k below 24 GiB, 32k below 48, 256k above."""
    devices = find_devices(gpus, load_catalog())
    sizing = size_gguf(SizingRequest(read_architecture(c.LLAMA_8B), devices, engine="ollama"))
    assert sizing.details["ollama_default_context"] == tokens
    assert ReasonKind.OLLAMA_CONTEXT in {one.kind for one in sizing.warnings}


@pytest.mark.parametrize(("dtype", "bytes_of_32"), [("f16", 64), ("q8_0", 34), ("q4_0", 18)])
def test_caches_are_kept_in_blocks_of_32(dtype: str, bytes_of_32: int) -> None:
    """ggml-common.h: block_q8_0 is a scale of 16 bits and 32 bytes, block_q4_0 a scale and 16."""
    ours = memory(c.QWEN2_7B, kv_cache_dtype=dtype)
    elements = 28 * 2 * 4 * 128
    assert ours.cache_bytes(1000) == elements * 1000 * bytes_of_32 / 32


def sized(config: c.Config, gpus: str, **more: Any) -> Sizing:
    devices = find_devices(gpus, load_catalog())
    more = {"engine": "llama_cpp", **more}
    return size_gguf(SizingRequest(read_architecture(config), devices, **more))


@pytest.mark.parametrize("dtype", ["q8_0", "q4_0", "fp8"])
def test_a_quantised_cache_that_is_not_read_is_no_fit(dtype: str) -> None:
    """``llama_init_from_model``: quantized V cache requires flash_attn to be enabled."""
    for config, flash in ((c.QWEN2_7B, False), (c.GEMMA2_27B, True), (c.DEEPSEEK_V2_LITE, True)):
        found = sized(config, "h200", kv_cache_dtype=dtype, flash_attention=flash)
        assert found.fits is Fit.NO
        assert [one.kind for one in found.reasons] == [ReasonKind.CACHE_NOT_READ]
    assert sized(c.QWEN2_7B, "h200", kv_cache_dtype=dtype, flash_attention=True).fits is Fit.YES


def test_heads_that_blocks_do_not_divide_have_no_quantised_cache() -> None:
    odd = {**c.QWEN2_7B, "head_dim": 80}
    assert sized(odd, "h200", kv_cache_dtype="q8_0", flash_attention=True).fits is Fit.NO
    assert sized(odd, "h200", flash_attention=True).fits is Fit.YES


def test_parts_that_are_not_even_hold_less() -> None:
    """The card with the larger part is full first."""
    config, more = c.QWEN2_32B, {"context_tokens": 8192, "weights_gib": 18.0}
    even, plain, skewed = (
        sized(config, "2x rtx-3060", flash_attention=True, tensor_split=parts, **more)
        for parts in ((1.0, 1.0), (), (3.0, 1.0))
    )
    assert even.fits == plain.fits != Fit.NO
    assert even.max_model_len_that_fits == plain.max_model_len_that_fits
    assert skewed.fits is Fit.NO
    on_first = 0.75 * (18.0 * 0.9)
    assert on_first > find_devices("rtx-3060", load_catalog())[0].usable_gib


def test_rows_put_the_whole_cache_on_the_first_card() -> None:
    """``--main-gpu`` has intermediate results and the cache with ``--split-mode row``."""
    more = {"context_tokens": 32768, "weights_gib": 18.0, "flash_attention": True}
    config = {**c.QWEN2_32B, "max_position_embeddings": 131072}
    layers, rows = (sized(config, "2x rtx-3090", split_mode=mode, **more) for mode in MODES)
    assert layers.fits
    assert rows.max_model_len_that_fits < layers.max_model_len_that_fits
    # what the first card has next to its half of the weights, at 256 KiB a token
    usable = find_devices("rtx-3090", load_catalog())[0].usable_gib
    left_gib = usable - 18.0 / 2
    assert rows.max_model_len_that_fits < left_gib * GIB / (64 * 2 * 8 * 128 * 2)


def test_a_card_may_have_a_layer_more_than_its_part() -> None:
    """Where a layer is larger than what is unsure anyway, less is called sure."""
    gib = 200.0
    one, two = (
        memory(c.QWEN2_32B, gpus, weights_gib=gib).unsure_bytes(8192)
        for gpus in ("h200", "2x h200")
    )
    assert one < GIB
    assert two > 2 * gib / 65 * GIB


def test_what_no_engine_is_asked_is_said() -> None:
    request = SizingRequest(
        read_architecture(c.QWEN2_7B), find_devices("l40s", load_catalog()), engine="llama_cpp"
    )
    with pytest.raises(PlanError, match=r"kv_cache_dtype: 'q5_1'"):
        size_gguf(replace(request, kv_cache_dtype="q5_1"))
    with pytest.raises(PlanError, match="tensor_split: 2 parts"):
        size_gguf(replace(request, tensor_split=(1.0, 1.0)))
    with pytest.raises(PlanError, match="kv_cache_dtype: 'q8_0'"):
        size_model(replace(request, engine="vllm", kv_cache_dtype="q8_0"))


def drafted(gpus: str, **more: Any) -> Sizing:
    """Qwen2 1.5B drafts for 32B."""
    draft = read_architecture({**QWEN2_1_5B, "vocab_size": 152064})
    speculation = Speculation("draft_model", 4, draft, 0.8, draft_gib=1.0)
    given = {"weights_gib": 18.0, "flash_attention": True, "speculation": speculation, **more}
    return sized(c.QWEN2_32B, gpus, **given)


def test_a_draft_takes_its_weights_its_cache_and_buffers_of_its_own() -> None:
    """As llama-server logs them: one context of the draft for all slots, in f16."""
    asked = {"users": 4, "context_tokens": 8192, "kv_cache_dtype": "q8_0"}
    with_it, without = drafted("h200", **asked), drafted("h200", speculation=None, **asked)
    weights = with_it.weights_gib_per_gpu - without.weights_gib_per_gpu
    assert weights == pytest.approx(1.0)  # its embeddings are its head's, too
    cache = with_it.kv_cache_gib_per_gpu - without.kv_cache_gib_per_gpu
    assert cache == pytest.approx(4 * 8192 * 28 * 2 * 2 * 128 * 2 / GIB)
    buffers = with_it.overhead_gib_per_gpu - without.overhead_gib_per_gpu
    assert buffers == pytest.approx(512 * 4 * (1536 + 152064) / GIB)


def test_a_draft_can_be_what_does_not_fit_any_more() -> None:
    asked = {"context_tokens": 8192, "weights_gib": 20.0}
    assert drafted("rtx-3090", speculation=None, **asked).fits
    assert drafted("rtx-3090", **asked).fits is Fit.NO


def test_a_draft_makes_one_user_faster() -> None:
    """One step in five reads the large model: 1 + 0.8 + 0.64 + 0.512 + 0.4096 tokens."""
    plain, fast = drafted("h200", speculation=None), drafted("h200")
    ratio = fast.tokens_per_second_per_user / plain.tokens_per_second_per_user
    assert 1.5 < ratio < 3.3616


@pytest.mark.parametrize(("vocabulary", "fits"), [(152064 - 128, True), (152064 - 129, False)])
def test_vocabularies_may_be_padded_differently(vocabulary: int, fits: bool) -> None:
    """``SPEC_VOCAB_MAX_SIZE_DIFFERENCE`` is 128: Qwen2.5 0.5B has 151936, 7B 152064."""
    draft = read_architecture({**QWEN2_1_5B, "vocab_size": vocabulary})
    found = drafted("h200", speculation=Speculation("draft_model", 4, draft))
    assert bool(found.fits) is fits
    assert [one.kind for one in found.reasons] == ([] if fits else [ReasonKind.OTHER_VOCABULARY])


def test_what_llama_cpp_does_not_draft_with() -> None:
    with pytest.raises(PlanError, match=r"speculative_config: mtp with llama\.cpp"):
        drafted("h200", speculation=Speculation("mtp", 2))
    with pytest.raises(PlanError, match="speculative_config: ngram with Ollama"):
        drafted("h200", speculation=Speculation("ngram", 2), engine="ollama")
    states = sized(c.QWEN3_6_27B, "h200", speculation=Speculation("ngram", 2))
    assert [one.kind for one in states.reasons] == [ReasonKind.STATES_DRAFTED]


@pytest.mark.parametrize("engine", ["llama_cpp", "ollama"])
def test_requests_longer_than_the_longest_are_refused(engine: str) -> None:
    """Also where both fit on the card, and the model was made for more."""
    devices, model = find_devices("h200", load_catalog()), read_architecture(c.QWEN2_32B)
    asked = {"engine": engine, "max_model_len": 8192, "context_tokens": 16384}
    found = size_model(SizingRequest(model, devices, **asked))  # type: ignore[arg-type]
    assert (found.fits, found.concurrent_users) == (Fit.NO, 0)
    assert [reason.kind for reason in found.reasons] == [ReasonKind.CONTEXT_TOO_LONG]
    asked["context_tokens"] = 8192
    assert size_model(SizingRequest(model, devices, **asked)).fits is Fit.YES  # type: ignore[arg-type]
