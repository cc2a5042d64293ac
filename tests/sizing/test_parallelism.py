from __future__ import annotations

from deploy.catalog.architecture import read_architecture
from deploy.catalog.quantization import BY_NAME, NONE, Quantization
from deploy.sizing.parallelism import legal_tensor_parallel_sizes, tensor_parallel_problems
from deploy.sizing.reasons_text import reason_text
from tests.sizing import configs as c


def _problems(config: c.Config, tp: int, scheme: Quantization = NONE) -> str:
    problems = tensor_parallel_problems(read_architecture(config), scheme, tp)
    return "; ".join(map(reason_text, problems))


def test_heads_must_divide() -> None:
    assert "28 attention heads do not divide by 8" in _problems(c.QWEN2_7B, 8)
    assert legal_tensor_parallel_sizes(read_architecture(c.QWEN2_7B), NONE) == (1, 2, 4)


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
