from __future__ import annotations

import pytest

from deploy.catalog.architecture import read_architecture
from deploy.catalog.experts import ExpertSplit
from deploy.catalog.quantization import BY_NAME, NONE, Quantization
from deploy.catalog.weight_tensors import layer_tensors
from deploy.sizing import size
from deploy.sizing.parallelism import tensor_parallel_problems
from deploy.sizing.precision import Precision, tensor_bytes
from deploy.sizing.reasons_text import reason_text
from deploy.sizing.splits import engine_split_problems, legal_splits
from deploy.spec.engine_kinds import EngineKind
from tests.sizing import configs as c


def _problems(config: c.Config, tp: int, scheme: Quantization = NONE) -> str:
    problems = tensor_parallel_problems(read_architecture(config), scheme, tp)
    return "; ".join(map(reason_text, problems))


def test_heads_must_divide() -> None:
    assert "28 attention heads do not divide by 8" in _problems(c.QWEN2_7B, 8)
    model = read_architecture(c.QWEN2_7B)
    assert legal_splits("vllm", model, NONE, whole_experts=False) == (1, 2, 4)


def test_kv_heads_replicate_only_evenly() -> None:
    config = c.config("llama", "4 768 12 4 1536 32064 4096")
    assert "4 KV heads do not replicate evenly over 6" in _problems(config, 6)


def test_quantisation_groups_must_divide() -> None:
    config = c.config("qwen2", "4 4096 32 32 13696 151936 4096")
    assert not _problems(config, 2)
    assert "13696 is 107 groups of 128 of awq" in _problems(config, 2, BY_NAME["awq"])


def test_experts_must_divide_too() -> None:
    config = {**c.QWEN3_30B_A3B, "moe_intermediate_size": 770}
    assert "the experts' intermediate size 770" in _problems(config, 4)


def test_the_padded_vocabulary_must_divide() -> None:
    config = c.config("llama", "4 768 12 12 1536 32000 4096")
    assert "the vocabulary, 32000 padded to 32000" in _problems(config, 3)


CODER_FP8 = {
    **c.QWEN3_30B_A3B,
    "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
}


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_blocks_of_fp8_limit_slices_of_experts_and_not_whole_ones(kind: EngineKind) -> None:
    """768 / 4 = 192, which no whole blocks of 128 are."""
    model = read_architecture(CODER_FP8)
    sliced = engine_split_problems(kind, model, model.quantization, 4, ExpertSplit(4))
    assert "the experts' intermediate size 768 is 6 groups" in "; ".join(map(reason_text, sliced))
    assert not engine_split_problems(kind, model, model.quantization, 4, ExpertSplit(1, 4))
    assert legal_splits(kind, model, model.quantization, whole_experts=True)[:3] == (1, 2, 4)


@pytest.mark.parametrize(
    ("kind", "is_refused"), [("vllm", False), ("sglang", True), ("tensorrt_llm", True)]
)
def test_as_many_whole_experts_on_each_gpu(kind: EngineKind, *, is_refused: bool) -> None:
    """Of 6 experts 4 GPUs would keep two, two, one and one."""
    model = read_architecture({**c.MIXTRAL, "num_local_experts": 6})
    problems = engine_split_problems(kind, model, NONE, 4, ExpertSplit(1, 4))
    assert [reason_text(each) for each in problems] == (
        ["6 whole experts cannot be shared out evenly over 4 GPUs"] if is_refused else []
    )


def test_whole_experts_are_not_padded_as_slices_are() -> None:
    """gpt-oss: 2880 is padded to 3072 once, and 360, an eighth of it, to 512."""
    model = read_architecture(c.GPT_OSS_120B)
    split = {
        whole: [t for t in layer_tensors(model, 0, 8, how) if t.module == "mlp.experts.down"]
        for whole, how in ((True, ExpertSplit(1, 8)), (False, ExpertSplit(8)))
    }
    (whole,), (slices,) = split[True], split[False]
    assert (whole.copies, whole.columns) == (16, 2880)
    assert (slices.copies, slices.columns) == (128, 360)
    assert whole.parameters == slices.parameters
    # as likely for an expert to be met by a token
    assert whole.copies_per_token / whole.copies == slices.copies_per_token / slices.copies
    precision = Precision("bfloat16", BY_NAME["mxfp4"])
    sizes = [tensor_bytes(t, model, precision) * t.copies for t in (whole, slices)]
    assert sizes[0] < 0.76 * sizes[1]


def test_whole_experts_are_a_way_out() -> None:
    sizing = size("qwen3-30b-a3b", "4x h100", quantization="fp8", tensor_parallel_size=4)
    assert not sizing.supported
    [why] = sizing.reasons
    assert reason_text(why).endswith(
        "use --tensor-parallel-size 1, 2, or use --enable-expert-parallel, with which GPUs keep"
        " whole experts"
    )
    assert size(
        "qwen3-30b-a3b",
        "4x h100",
        quantization="fp8",
        tensor_parallel_size=4,
        enable_expert_parallel=True,
    ).fits


def test_a_split_that_was_not_taken_says_so_too() -> None:
    sizing = size("qwen3-coder-480b-a35b", "8x h200", quantization="fp8")
    found = {
        each.tensor_parallel_size: reason_text(each.reason)
        for each in sizing.rejected
        if "whole experts" in reason_text(each.reason)
    }
    # 7 GPUs share heads no better with whole experts
    assert list(found) == [8]
    assert found[8].endswith("use --enable-expert-parallel, with which GPUs keep whole experts")
