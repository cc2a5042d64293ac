"""The config.json of well-known models, as far as sizing reads it."""

from __future__ import annotations

from typing import Any

Config = dict[str, Any]


def config(model_type: str, sizes: str, **more: Any) -> Config:
    """A config from "layers hidden heads kv_heads intermediate vocab context"."""
    names = (
        "num_hidden_layers",
        "hidden_size",
        "num_attention_heads",
        "num_key_value_heads",
        "intermediate_size",
        "vocab_size",
        "max_position_embeddings",
    )
    values = (int(size) for size in sizes.split())
    return {"model_type": model_type, **dict(zip(names, values, strict=True)), **more}


AWQ = {"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128}}
FP8 = {"quantization_config": {"quant_method": "fp8"}}
MXFP4 = {"quantization_config": {"quant_method": "mxfp4"}}
W4A16 = {
    "quantization_config": {
        "quant_method": "compressed-tensors",
        "config_groups": {
            "group_0": {"weights": {"num_bits": 4, "type": "int", "group_size": 128}}
        },
    }
}
MLA = {"kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128}

QWEN2_7B = config("qwen2", "28 3584 28 4 18944 152064 32768")
QWEN2_14B = config("qwen2", "48 5120 40 8 13824 152064 131072")
QWEN2_32B = config("qwen2", "64 5120 40 8 27648 152064 32768")
QWEN2_72B = config("qwen2", "80 8192 64 8 29568 152064 32768")
QWEN3_0_6B = config(
    "qwen3", "28 1024 16 8 3072 151936 40960", head_dim=128, tie_word_embeddings=True
)
QWEN3_8B = config("qwen3", "36 4096 32 8 12288 151936 40960", head_dim=128)
QWEN3_32B = config("qwen3", "64 5120 64 8 25600 151936 40960", head_dim=128)
QWEN3_30B_A3B = config(
    "qwen3_moe",
    "48 2048 32 4 6144 151936 40960",
    head_dim=128,
    num_experts=128,
    num_experts_per_tok=8,
    moe_intermediate_size=768,
)
LLAMA_8B = config("llama", "32 4096 32 8 14336 128256 131072")
LLAMA_70B = config("llama", "80 8192 64 8 28672 128256 131072")
CODELLAMA_7B = config("llama", "32 4096 32 32 11008 32016 16384")
MIXTRAL = config(
    "mixtral", "32 4096 32 8 14336 32000 32768", num_local_experts=8, num_experts_per_tok=2
)
PHI4 = config("phi3", "40 5120 40 10 17920 100352 16384")
GRANITE_8B = config("granite", "40 4096 32 8 12800 49155 131072", tie_word_embeddings=True)
STARCODER2_15B = config(
    "starcoder2", "40 6144 48 4 24576 49152 16384", use_bias=True, tie_word_embeddings=False
)
GEMMA2_27B = config("gemma2", "46 4608 32 16 36864 256000 8192", head_dim=128, sliding_window=4096)
GEMMA3_27B = config(
    "gemma3_text", "62 5376 32 16 21504 262208 131072", head_dim=128, sliding_window=1024
)
DEEPSEEK_V2_LITE = config(
    "deepseek_v2",
    "27 2048 16 16 10944 102400 163840",
    **MLA,
    q_lora_rank=None,
    n_routed_experts=64,
    num_experts_per_tok=6,
    n_shared_experts=2,
    moe_intermediate_size=1408,
    first_k_dense_replace=1,
)
DEEPSEEK_V3 = config(
    "deepseek_v3",
    "61 7168 128 128 18432 129280 163840",
    **MLA,
    q_lora_rank=1536,
    n_routed_experts=256,
    num_experts_per_tok=8,
    n_shared_experts=1,
    moe_intermediate_size=2048,
    first_k_dense_replace=3,
)
QWEN3_6_27B = {
    "model_type": "qwen3_5",
    "text_config": config(
        "qwen3_5_text",
        "64 5120 24 4 17408 248320 262144",
        head_dim=256,
        full_attention_interval=4,
        linear_num_key_heads=16,
        linear_num_value_heads=48,
        linear_key_head_dim=128,
        linear_value_head_dim=128,
        linear_conv_kernel_dim=4,
    ),
    "vision_config": {
        "depth": 27,
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "patch_size": 16,
    },
}
QWEN3_NEXT_80B = config(
    "qwen3_next",
    "48 2048 16 2 5120 151936 262144",
    head_dim=256,
    full_attention_interval=4,
    linear_num_key_heads=16,
    linear_num_value_heads=32,
    linear_key_head_dim=128,
    linear_value_head_dim=128,
    num_experts=512,
    num_experts_per_tok=10,
    moe_intermediate_size=512,
    shared_expert_intermediate_size=512,
)
GRANITE_4_H_SMALL = config(
    "granitemoehybrid",
    "40 4096 32 8 768 100352 131072",
    layer_types=["attention" if layer in {5, 15, 25, 35} else "mamba" for layer in range(40)],
    mamba_n_heads=128,
    mamba_d_head=64,
    mamba_n_groups=1,
    mamba_d_state=128,
    mamba_d_conv=4,
    num_local_experts=72,
    num_experts_per_tok=10,
    shared_intermediate_size=1536,
    tie_word_embeddings=True,
)
GPT_OSS = {"head_dim": 64, "num_experts_per_tok": 4, "sliding_window": 128, **MXFP4}
GPT_OSS_20B = config("gpt_oss", "24 2880 64 8 2880 201088 131072", num_local_experts=32, **GPT_OSS)
GPT_OSS_120B = config(
    "gpt_oss", "36 2880 64 8 2880 201088 131072", num_local_experts=128, **GPT_OSS
)
