"""Speculative decoding: what drafts tokens, and what that takes.

vLLM's ``--speculative-config`` (vllm/config/speculative.py): ``mtp`` uses the model's own layers
for multi-token prediction, ``eagle3`` a head trained for it, ``draft_model`` a smaller model with
the same vocabulary, ``ngram`` what stands in the prompt. Drafts share the pool of the KV cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from deploy.catalog.architecture import Architecture
from deploy.catalog.attention_layers import AttentionLayer
from deploy.catalog.quantization import NONE
from deploy.catalog.weight_tensors import WeightTensor, layer_tensors, share
from deploy.sizing.kv_cache import KvSettings, token_bytes
from deploy.sizing.precision import Precision, tensor_bytes
from deploy.sizing.reasons import Reason, ReasonKind, reason
from deploy.sizing.weights import VOCAB_PADDING, allocated_bytes, stage_weights_bytes

METHODS = ("mtp", "eagle3", "draft_model", "ngram")
DRAFTED_WITH = ("eagle3", "draft_model")
"""Methods that need weights of their own."""
ACCEPTANCE = {"mtp": 0.7, "eagle3": 0.6, "draft_model": 0.6, "ngram": 0.3}
"""Share of drafted tokens that the model agrees with, each given the ones before it. ``mtp``: steps
of 2.6 to 3.5 tokens with three drafts of Qwen3.6-27B and Qwen3.8-27B (club-3090); the others are
guesses on the low side: measure yours (vLLM logs it)."""
KEPT_QUANTIZED = frozenset({"none", "fp8"})
"""Methods whose checkpoints quantise the layers for multi-token prediction too."""
VOCABULARY_DIFFERENCE = 128
"""Tokens by which vocabularies may differ in number (``SPEC_VOCAB_MAX_SIZE_DIFFERENCE`` in
common/speculative.cpp): models of a family pad theirs differently."""
AUX_LAYERS = 3
"""Layers of the model whose hidden states an EAGLE-3 head is given."""


@dataclass(frozen=True)
class Speculation:
    """How tokens are drafted."""

    method: str
    """One of ``METHODS``."""
    tokens: int
    """Tokens drafted at a time (``num_speculative_tokens``)."""
    draft: Architecture | None = None
    """The draft model, or the head."""
    acceptance: float | None = None
    """Share of drafted tokens accepted, each given the ones before; by method where not known."""
    draft_gib: float | None = None
    """Size of the draft's file, where it is known; of llama.cpp."""

    @cached_property
    def tokens_per_step(self) -> float:
        """Tokens that a step of the model yields on average."""
        share_of = ACCEPTANCE[self.method] if self.acceptance is None else self.acceptance
        return sum(share_of**count for count in range(self.tokens + 1))


def draft_layers(speculation: Speculation, model: Architecture) -> tuple[AttentionLayer, ...]:
    """Layers that keep tokens of their own."""
    if speculation.method == "mtp":
        indexed = model.family.sparse_index
        layer = AttentionLayer("mla" if model.mla else "full", is_indexed=indexed)
        return (layer,) * model.mtp_layers
    return speculation.draft.layers if speculation.draft else ()


def kv_settings(settings: KvSettings, speculation: Speculation, model: Architecture) -> KvSettings:
    """The settings of a KV cache that drafts share."""
    size = draft_token_bytes(speculation, model, settings.tp, settings.kv_dtype)
    return replace(
        settings,
        draft_layers=draft_layers(speculation, model),
        draft_token_bytes=size,
        speculative_tokens=speculation.tokens,
    )


def draft_token_bytes(spec: Speculation, model: Architecture, tp: int, kv_dtype: str) -> int:
    """Bytes of a token in a layer of the draft; 0 where its heads are like the model's own."""
    draft = spec.draft
    if draft is None:
        return 0
    shapes = {_shape(model, layer) for layer in set(model.layers) if layer.kind == "full"}
    if shapes == {_shape(draft, layer) for layer in set(draft.layers)}:
        return 0
    return max(token_bytes(draft, layer, tp, kv_dtype) for layer in set(draft.layers))


def _shape(model: Architecture, layer: AttentionLayer) -> tuple[str, int, int]:
    """Kind, heads and their size: layers of one shape are one kind to vLLM."""
    return layer.kind, layer.kv_heads or model.kv_heads, layer.head_dim or model.head_dim


def draft_weights_bytes(
    speculation: Speculation, model: Architecture, precision: Precision, tp: int, pp: int
) -> int:
    """Bytes of the draft on each GPU of the last stage."""
    if speculation.method == "mtp":
        own, tensors = _mtp_precision(precision), list(mtp_tensors(model, tp, pp))
        return sum(allocated_bytes(tensor_bytes(t, model, own) * t.copies) for t in tensors)
    draft = speculation.draft
    if draft is None:
        return 0
    own = Precision(precision.dtype, draft.quantization, precision.mxfp4_alignment)
    if speculation.method == "draft_model":
        return stage_weights_bytes(draft, own, tp, 1)[0]
    return sum(
        allocated_bytes(tensor_bytes(t, draft, own) * t.copies)
        for t in _head_tensors(draft, model, tp)
    )


def _mtp_precision(precision: Precision) -> Precision:
    kept = precision.quantization.method in KEPT_QUANTIZED
    return precision if kept else replace(precision, quantization=NONE)


def mtp_file_bytes(model: Architecture, precision: Precision) -> int:
    """What the layers for multi-token prediction take of a model's files.

    The makers' files hold them (DeepSeek-V3, Qwen3.6 and Qwen3.8: with them, ours are within
    0.6 %); vLLM does not load them unless they draft.
    """
    own = _mtp_precision(precision)
    return sum(tensor_bytes(t, model, own) * t.copies for t in mtp_tensors(model, 1))


def mtp_tensors(model: Architecture, tp: int, pp: int = 1) -> Iterator[WeightTensor]:
    """Layers for multi-token prediction on one GPU (vLLM's qwen3_5_mtp.py, deepseek_mtp.py).

    Embeddings and head are the model's own; in a pipeline, embeddings are loaded again.
    """
    for _ in range(model.mtp_layers):
        for layer in _block(model):
            yield from layer_tensors(model, layer, tp)
        rows = share(model.hidden, tp) if model.family.state == "delta" else model.hidden
        yield WeightTensor("mtp.fc", rows, 2 * model.hidden, is_linear=False)
        yield WeightTensor("norm", 3 * model.hidden, 1, is_linear=False)
    if pp > 1:
        rows = share(share(model.vocab, VOCAB_PADDING) * VOCAB_PADDING, tp)
        yield WeightTensor("embed_tokens", rows, model.hidden, is_linear=False)


def _block(model: Architecture) -> tuple[int, ...]:
    """The model's layers that a layer for multi-token prediction is made like."""
    layers = range(len(model.layers))
    attends = [layer for layer in layers if model.layers[layer].kind in {"full", "mla"}]
    if not model.family.layer_pattern:
        return (attends[-1],)
    return attends[-1], next(layer for layer in layers if model.is_moe_layer(layer))


def _head_tensors(head: Architecture, model: Architecture, tp: int) -> Iterator[WeightTensor]:
    """An EAGLE-3 head (vLLM's llama_eagle3.py).

    Its first layer reads embedding and state together, a projection joins the states of three
    layers; embeddings are the model's own.
    """
    for layer in range(len(head.layers)):
        for tensor in layer_tensors(head, layer, tp):
            doubled = layer == 0 and tensor.module == "self_attn.qkv_proj" and tensor.is_linear
            yield replace(tensor, columns=2 * tensor.columns) if doubled else tensor
    yield WeightTensor("fc", head.hidden, AUX_LAYERS * model.hidden, is_linear=False)
    rows = share(share(head.draft_vocab, VOCAB_PADDING) * VOCAB_PADDING, tp)
    yield WeightTensor("lm_head", rows, head.hidden, is_linear=False)
    size = head.max_position_embeddings * head.head_dim
    yield WeightTensor("positions", size, 1, is_linear=False)


def speculation_refusals(speculation: Speculation | None, model: Architecture) -> Iterator[Reason]:
    """Why tokens cannot be drafted in this way."""
    if speculation is None:
        return
    if speculation.method == "mtp" and not model.mtp_layers:
        yield reason(ReasonKind.NO_MTP_LAYERS)
    draft = speculation.draft
    if draft is None:
        return
    if speculation.method == "draft_model" and draft.vocab != model.vocab:
        yield reason(ReasonKind.OTHER_VOCABULARY, draft=draft.vocab, own=model.vocab)
    foreign = any(layer.kind not in {"full", "mla"} for layer in draft.layers)
    mixed = len({layer.kind for layer in model.layers} - {"none"}) > 1
    if foreign or (mixed and draft_token_bytes(speculation, model, 1, "bfloat16")):
        yield reason(ReasonKind.DRAFT_OF_OTHER_SHAPE)


def gguf_draft_refusals(drafts: Speculation | None, model: Architecture) -> Iterator[Reason]:
    """Why llama.cpp does not draft tokens in this way, or what it takes is not known."""
    draft = drafts.draft if drafts else None
    if draft is not None and abs(draft.vocab - model.vocab) > VOCABULARY_DIFFERENCE:
        yield reason(ReasonKind.OTHER_VOCABULARY, draft=draft.vocab, own=model.vocab)
    layers = (*model.layers, *(draft.layers if draft else ()))
    if drafts and any(layer.kind == "state" for layer in layers):
        yield reason(ReasonKind.STATES_DRAFTED)
