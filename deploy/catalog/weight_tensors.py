"""The weight tensors of a model, as an engine loads them onto one of ``tp`` GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deploy.catalog.architecture import Architecture
from deploy.catalog.attention_layers import AttentionLayer
from deploy.catalog.experts import ExpertSplit, Moe
from deploy.catalog.latent_attention import Mla
from deploy.catalog.state_layers import StateLayers


@dataclass(frozen=True)
class WeightTensor:
    """One tensor, or one of several of the same shape."""

    module: str
    """Module that it belongs to, as lists of unquantised modules name it."""
    rows: int
    """Outputs."""
    columns: int
    """Inputs; 1 for biases and norms."""
    is_linear: bool = True
    """Whether quantisation applies to it."""
    copies: int = 1
    """How many there are: experts of a layer."""
    copies_per_token: float = 1
    """How many of them a token passes through, on average."""

    @property
    def parameters(self) -> int:
        """Parameters of all copies."""
        return self.rows * self.columns * self.copies

    @property
    def active_parameters(self) -> int:
        """Parameters that one token meets."""
        return int(self.rows * self.columns * self.copies_per_token)


def layer_tensors(
    model: Architecture, layer: int, tp: int = 1, experts: ExpertSplit | None = None
) -> tuple[WeightTensor, ...]:
    """The tensors of a layer on one GPU.

    Args:
        model: the model.
        layer: its index.
        tp: GPUs that share the layer.
        experts: how routed experts are shared out; a slice of each on every one of them otherwise.
    """
    attention = _mixer(model, layer, tp)
    split = experts or ExpertSplit(slices=tp)
    mlp = () if layer in model.bare_layers else tuple(_feed_forward(model, layer, tp, split))
    norm = model.hidden * (2 if model.family.norm_bias else 1)
    norms = [_vector("norm", norm)] * model.family.norms_per_layer
    return (*attention, *mlp, *norms)


def embedding_tensors(model: Architecture, tp: int = 1, pad_to: int = 1) -> Iterator[WeightTensor]:
    """The input embeddings on one GPU."""
    yield WeightTensor("embed_tokens", _vocab(model, tp, pad_to), model.hidden, is_linear=False)
    if model.family.learned_positions:
        yield WeightTensor("wpe", model.max_position_embeddings, model.hidden, is_linear=False)


def head_tensors(model: Architecture, tp: int = 1, pad_to: int = 1) -> Iterator[WeightTensor]:
    """The final norm, and the output head where it is not the embeddings."""
    if model.family.final_norm:
        yield _vector("norm", model.hidden * (2 if model.family.norm_bias else 1))
    if not model.tied_embeddings:
        yield WeightTensor("lm_head", _vocab(model, tp, pad_to), model.hidden, is_linear=False)
    if model.family.head_bias:
        yield _vector("lm_head", _vocab(model, tp, pad_to))


def all_tensors(model: Architecture) -> Iterator[tuple[WeightTensor, int]]:
    """Every tensor of the model on one GPU, and how often it occurs; the vision tower aside."""
    yield from ((tensor, 1) for tensor in embedding_tensors(model))
    for layer, number in model.layer_kinds():
        yield from ((tensor, number) for tensor in layer_tensors(model, layer))
    yield from ((tensor, 1) for tensor in head_tensors(model))


def count_parameters(model: Architecture) -> int:
    """Parameters of the whole model."""
    return model.known("parameters", lambda: _count_parameters(model))


def _count_parameters(model: Architecture) -> int:
    text = sum(tensor.parameters * number for tensor, number in all_tensors(model))
    return text + model.vision_parameters


def count_active_parameters(model: Architecture) -> int:
    """Parameters that one token of text meets."""
    tensors = all_tensors(model)
    return model.known("active", lambda: sum(t.active_parameters * n for t, n in tensors))


def share(total: int, parts: int) -> int:
    """The larger part of something split."""
    return -(-total // parts)


def _vector(module: str, size: int) -> WeightTensor:
    return WeightTensor(module, size, 1, is_linear=False)


def _vocab(model: Architecture, tp: int, pad_to: int) -> int:
    return share(share(model.vocab, pad_to) * pad_to, tp)


def _mixer(model: Architecture, layer: int, tp: int) -> Iterator[WeightTensor]:
    """What lets tokens see others: attention of some kind, a state, or nothing."""
    attention = model.layers[layer]
    if attention.kind == "none":
        return iter(())
    if model.state is not None and attention.kind == "state":
        return _state(model, model.state, tp)
    if model.mla:
        return _mla(model, model.mla, attention, tp)
    return _attention(model, attention, tp)


def _feed_forward(
    model: Architecture, layer: int, tp: int, experts: ExpertSplit
) -> Iterator[WeightTensor]:
    """Experts, an ordinary MLP, or both."""
    moe = model.moe if model.is_moe_layer(layer) else None
    if moe is None or moe.beside_mlp:
        yield from _mlp(model, model.intermediate, tp)
    if moe is not None:
        yield from _experts(model, moe, tp, experts)


def _state(model: Architecture, state: StateLayers, tp: int) -> Iterator[WeightTensor]:
    """Gated delta net (vllm qwen3_next.py), or Mamba2 (mamba_mixer2.py)."""
    heads, inner, conv = share(state.heads, tp), share(state.inner, tp), state.conv_channels(tp)
    yield WeightTensor("linear_attn.in_proj_qkvz", conv + inner, model.hidden)
    if state.kind == "delta":
        yield WeightTensor("linear_attn.in_proj_ba", 2 * heads, model.hidden)
        yield _vector("linear_attn.norm", state.head_dim + 2 * heads)
    else:
        yield WeightTensor("mamba.in_proj_dt", heads, model.hidden)
        yield _vector("mamba.norm", inner + 3 * heads + conv)
    yield WeightTensor("linear_attn.conv1d", conv, state.conv_kernel, is_linear=False)
    yield WeightTensor("linear_attn.out_proj", model.hidden, inner)


def _attention(model: Architecture, layer: AttentionLayer, tp: int) -> Iterator[WeightTensor]:
    heads, head_dim = share(model.heads, tp), layer.head_dim or model.head_dim
    kv_heads = share(layer.kv_heads or model.kv_heads, tp)
    gates = heads if model.family.output_gate else 0
    kept = kv_heads if layer.keys_are_values else 2 * kv_heads
    qkv, output = (heads + gates + kept) * head_dim, heads * head_dim
    yield WeightTensor("self_attn.qkv_proj", qkv, model.hidden)
    yield WeightTensor("self_attn.o_proj", model.hidden, output)
    if model.family.qkv_bias:
        yield _vector("self_attn.qkv_proj", qkv)
    if model.family.output_bias:
        yield _vector("self_attn.o_proj", model.hidden)
    if model.family.sinks:
        yield _vector("self_attn.sinks", heads)
    if model.family.qk_norm == "head":
        yield _vector("self_attn.norm", 2 * head_dim)
    elif model.family.qk_norm == "whole":
        yield _vector("self_attn.norm", (heads + kv_heads) * head_dim)


def _mla(model: Architecture, mla: Mla, layer: AttentionLayer, tp: int) -> Iterator[WeightTensor]:
    heads = share(model.heads, tp)
    query = heads * (mla.nope_head_dim + mla.rope_head_dim)
    if mla.q_lora_rank:
        yield WeightTensor("self_attn.q_a_proj", mla.q_lora_rank, model.hidden)
        yield WeightTensor("self_attn.q_b_proj", query, mla.q_lora_rank)
        yield _vector("self_attn.norm", mla.q_lora_rank)
    else:
        yield WeightTensor("self_attn.q_proj", query, model.hidden)
    latent = mla.kv_lora_rank + mla.rope_head_dim
    yield WeightTensor("self_attn.kv_a_proj", latent, model.hidden)
    yield _vector("self_attn.norm", mla.kv_lora_rank)
    inner = heads * (mla.nope_head_dim + mla.v_head_dim)
    yield WeightTensor("self_attn.kv_b_proj", inner, mla.kv_lora_rank)
    yield WeightTensor("self_attn.o_proj", model.hidden, heads * mla.v_head_dim)
    if layer.is_indexed:
        yield from _index(model, mla)


def _index(model: Architecture, mla: Mla) -> Iterator[WeightTensor]:
    """The index of sparse attention, whole on every GPU (vllm deepseek_v2.py, ``Indexer``)."""
    queries = mla.index_heads * mla.index_head_dim
    yield WeightTensor("self_attn.indexer.wq_b", queries, mla.q_lora_rank or model.hidden)
    yield WeightTensor("self_attn.indexer.wk", mla.index_head_dim, model.hidden)
    yield WeightTensor(
        "self_attn.indexer.weights_proj", mla.index_heads, model.hidden, is_linear=False
    )
    yield _vector("self_attn.indexer.k_norm", 2 * mla.index_head_dim)


def _mlp(model: Architecture, intermediate: int, tp: int) -> Iterator[WeightTensor]:
    inner = share(intermediate, tp)
    up = inner * (2 if model.family.gated_mlp else 1)
    yield WeightTensor("mlp.up_proj", up, model.hidden)
    yield WeightTensor("mlp.down_proj", model.hidden, inner)
    if model.family.mlp_bias:
        yield _vector("mlp", up + model.hidden)


def _experts(model: Architecture, moe: Moe, tp: int, split: ExpertSplit) -> Iterator[WeightTensor]:
    inner, width = share(moe.intermediate, split.slices), moe.width(model.hidden)
    up = inner * (2 if model.family.gated_mlp else 1)
    copies = (share(moe.experts, split.groups), moe.experts_per_token / split.groups)
    yield WeightTensor("mlp.experts.up", up, width, True, *copies)
    yield WeightTensor("mlp.experts.down", width, inner, True, *copies)
    yield WeightTensor("mlp.router", moe.experts, model.hidden, is_linear=False)
    if moe.latent:
        yield WeightTensor("mlp.latent_down", moe.latent, model.hidden)
        yield WeightTensor("mlp.latent_up", model.hidden, moe.latent)
    if model.family.moe_bias:
        yield WeightTensor("mlp.experts.bias", up + width, 1, False, *copies)
        yield _vector("mlp.router", moe.experts)
    if moe.shared_intermediate:
        yield from _mlp(model, moe.shared_intermediate, tp)
    if moe.shared_gate:
        yield _vector("mlp.shared_gate", model.hidden)
