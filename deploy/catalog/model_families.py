"""Model families whose layers are known: what config.json does not say about them.

Source: the modelling code of each family in huggingface/transformers and its counterpart in
vllm-project/vllm (``vllm/model_executor/models``). A family that is not here is declined.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from deploy.errors import Problem, UnsupportedModelError


@dataclass(frozen=True)
class Family:
    """How the layers of a family are made."""

    gated_mlp: bool = True
    """Gate and up projections (SwiGLU and the like), or a single one."""
    qkv_bias: bool = False
    """Bias of the query, key and value projections where config.json does not say."""
    output_bias: bool = False
    """Bias of the attention's output projection where config.json does not say."""
    mlp_bias: bool = False
    """Bias of the MLP's projections where config.json does not say."""
    norms_per_layer: int = 2
    """Norms over the hidden state in each layer."""
    norm_bias: bool = False
    """Whether norms have a bias (LayerNorm) next to their weight."""
    qk_norm: Literal["none", "head", "whole"] = "none"
    """Norm of queries and keys: one weight per head dimension, or over all heads."""
    tied_by_default: bool = False
    """Whether input and output embeddings are one where config.json does not say."""
    attention: Literal["standard", "mla"] = "standard"
    """Keys and values per head, or DeepSeek's compressed latent."""
    sliding_pattern: int = 0
    """One full layer in every N, the others sliding, where config.json does not list them."""
    uses_sliding_window: bool = True
    """Whether ``sliding_window`` of config.json takes effect."""
    sinks: bool = False
    """One learned attention sink per head (gpt-oss)."""
    moe_bias: bool = False
    """Experts and router have biases."""
    learned_positions: bool = False
    """A table of position embeddings."""
    unused_positions: int = 0
    """Positions of that table that no token has: RoBERTa counts from behind its padding token."""
    encodes: bool = False
    """Every token sees all others, and nothing is kept for tokens to come (BERT)."""
    final_norm: bool = True
    """A norm with weights after the last layer."""
    head_bias: bool = False
    """The output head has a bias."""
    output_gate: bool = False
    """Full attention makes a gate for its output next to the queries."""
    state: Literal["none", "delta", "mamba2"] = "none"
    """What layers without attention keep in place of tokens."""
    state_dtype: str = "auto"
    """Type of that state where config.json does not say; ``auto`` for the model's."""
    layer_pattern: bool = False
    """A layer is one of Mamba2, attention, experts or MLP, as a pattern says (Nemotron-H)."""
    mlp_beside_experts: bool = False
    """Layers with experts have an ordinary MLP too (Gemma 4)."""
    interleaved_experts: bool = False
    """Every so many layers have experts, and ``intermediate_size`` is theirs (Llama 4)."""
    sparse_index: bool = False
    """MLA keeps an index that chooses the tokens to attend to (DeepSeek's sparse attention)."""


LLAMA = Family()
BERT = Family(
    gated_mlp=False,
    qkv_bias=True,
    output_bias=True,
    mlp_bias=True,
    norm_bias=True,
    tied_by_default=True,
    learned_positions=True,
    uses_sliding_window=False,
    encodes=True,
)
ROBERTA = replace(BERT, unused_positions=2)
DELTA = Family(qk_norm="head", uses_sliding_window=False, output_gate=True, state="delta")
FAMILIES: dict[str, Family] = {
    "llama": LLAMA,
    "mistral": LLAMA,
    "bert": BERT,
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "ministral": LLAMA,
    "ministral3": LLAMA,
    "smollm3": LLAMA,
    "internlm2": LLAMA,
    "internlm3": LLAMA,
    "mimo": Family(qkv_bias=True),
    "ernie4_5": Family(tied_by_default=True),
    "hunyuan_v1_dense": Family(qk_norm="head"),
    "olmoe": Family(qk_norm="whole"),
    "gpt_neox": Family(
        gated_mlp=False, qkv_bias=True, output_bias=True, mlp_bias=True, norm_bias=True
    ),
    "granite": LLAMA,
    "granitemoe": LLAMA,
    "mixtral": LLAMA,
    "phi3": LLAMA,
    "seed_oss": Family(qkv_bias=True),
    "qwen2": Family(qkv_bias=True, uses_sliding_window=False),
    "qwen2_moe": Family(qkv_bias=True, uses_sliding_window=False),
    "qwen2_vl_text": Family(qkv_bias=True, uses_sliding_window=False),
    "qwen2_5_vl_text": Family(qkv_bias=True, uses_sliding_window=False),
    "qwen3": Family(qk_norm="head", uses_sliding_window=False),
    "qwen3_moe": Family(qk_norm="head", uses_sliding_window=False),
    "qwen3_vl_text": Family(qk_norm="head", uses_sliding_window=False),
    "qwen3_vl_moe_text": Family(qk_norm="head", uses_sliding_window=False),
    "starcoder2": Family(
        gated_mlp=False,
        qkv_bias=True,
        output_bias=True,
        mlp_bias=True,
        norm_bias=True,
        tied_by_default=True,
    ),
    "gpt_bigcode": Family(
        gated_mlp=False,
        qkv_bias=True,
        output_bias=True,
        mlp_bias=True,
        norm_bias=True,
        tied_by_default=True,
        learned_positions=True,
    ),
    "phi": Family(
        gated_mlp=False,
        qkv_bias=True,
        output_bias=True,
        mlp_bias=True,
        norms_per_layer=1,
        norm_bias=True,
        head_bias=True,
    ),
    "stablelm": Family(norm_bias=True),
    "nemotron": Family(gated_mlp=False, norm_bias=True),
    "gemma": Family(tied_by_default=True),
    "gemma2": Family(norms_per_layer=4, tied_by_default=True, sliding_pattern=2),
    "gemma3_text": Family(
        norms_per_layer=4, qk_norm="head", tied_by_default=True, sliding_pattern=6
    ),
    "gemma4_text": Family(
        norms_per_layer=4, qk_norm="head", tied_by_default=True, mlp_beside_experts=True
    ),
    "cohere": Family(norms_per_layer=1, tied_by_default=True),
    "cohere2": Family(norms_per_layer=1, tied_by_default=True, sliding_pattern=4),
    "olmo": Family(norms_per_layer=0, final_norm=False),
    "olmo2": Family(qk_norm="whole"),
    "olmo3": Family(qk_norm="whole", sliding_pattern=4),
    "glm": Family(qkv_bias=True),
    "glm4": Family(qkv_bias=True, norms_per_layer=4),
    "glm4_moe": Family(qkv_bias=True),
    "minimax_m2": Family(qk_norm="whole", uses_sliding_window=False),
    "gpt_oss": Family(
        qkv_bias=True, output_bias=True, sliding_pattern=2, sinks=True, moe_bias=True
    ),
    "qwen3_next": DELTA,
    "qwen3_5_text": replace(DELTA, state_dtype="float32"),
    "qwen3_5_moe_text": replace(DELTA, state_dtype="float32"),
    "granitemoehybrid": Family(state="mamba2"),
    "nemotron_h": Family(
        gated_mlp=False,
        norms_per_layer=1,
        uses_sliding_window=False,
        state="mamba2",
        layer_pattern=True,
    ),
    "llama4_text": Family(uses_sliding_window=False, interleaved_experts=True),
    "deepseek": LLAMA,
    "deepseek_v2": Family(attention="mla"),
    "deepseek_v3": Family(attention="mla"),
    "kimi_k2": Family(attention="mla"),
    "glm4_moe_lite": Family(attention="mla"),
    "deepseek_v32": Family(attention="mla", sparse_index=True),
    "glm_moe_dsa": Family(attention="mla", sparse_index=True),
}
"""Families by ``model_type``."""

ENCODER = "its layers are not those of BERT"
STATE_SPACE = (
    "its state-space or linear-attention layers keep a state whose size in the engines is not known"
)
DECLINED: dict[str, str] = {
    "jamba": STATE_SPACE,
    "mamba": STATE_SPACE,
    "mamba2": STATE_SPACE,
    "falcon_mamba": STATE_SPACE,
    "falcon_h1": STATE_SPACE,
    "bamba": STATE_SPACE,
    "zamba2": STATE_SPACE,
    "rwkv": STATE_SPACE,
    "kimi_linear": STATE_SPACE,
    "minimax": STATE_SPACE,
    "minimax_text_01": STATE_SPACE,
    "lfm2": STATE_SPACE,
    "lfm2_moe": STATE_SPACE,
    "recurrent_gemma": STATE_SPACE,
    "plamo2": STATE_SPACE,
    "deepseek_v4": "its sparse, compressed attention keeps several caches",
    "minimax_m3": "its sparse attention keeps an index of blocks",
    "gemma3n_text": "its layers share KV caches and keep embeddings off the GPU",
    "nomic_bert": ENCODER,
    "modernbert": ENCODER,
    "t5": "it is an encoder-decoder: its memory follows the encoder's input too",
    "bart": "it is an encoder-decoder: its memory follows the encoder's input too",
    "whisper": "it is an encoder-decoder: its memory follows the encoder's input too",
    "mllama": "its cross-attention keeps a second KV cache",
    "mllama_text_model": "its cross-attention keeps a second KV cache",
}
"""Why these families are declined, by ``model_type``."""


def find_family(model_type: str) -> Family:
    """The family of a ``model_type``.

    Raises:
        UnsupportedModelError: if its memory cannot be worked out honestly.
    """
    if model_type in FAMILIES:
        return FAMILIES[model_type]
    raise declined(f"model_type {model_type!r}", DECLINED.get(model_type, "its layers are unknown"))


def declined(found: str, reason: str) -> UnsupportedModelError:
    """The refusal of a model whose memory would have to be guessed."""
    return UnsupportedModelError(
        Problem(
            "config.json",
            f"{found}: {reason}, so its memory would have to be guessed",
            "layers of kinds whose memory is known: full attention, sliding window, MLA, gated"
            " delta net, Mamba2",
            "start it once and read the engine's own figures, or choose another model",
        )
    )
