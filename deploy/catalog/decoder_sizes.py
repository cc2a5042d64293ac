"""The sizes of a decoder, under the names that families give them in config.json."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from deploy.catalog.config_reader import ConfigReader
from deploy.catalog.experts import has_experts
from deploy.catalog.model_families import Family

Dtype = Literal["bfloat16", "float16", "float32"]
STRETCHED = ("yarn", "linear", "dynamic")
"""Kinds of ``rope_scaling`` that lengthen the context by their factor."""
DTYPES: dict[str, Dtype] = {
    "bfloat16": "bfloat16",
    "float16": "float16",
    "float32": "float32",
    "half": "float16",
}


def read_context(config: ConfigReader) -> int:
    """Context that the model was made for, stretched positions included."""
    names = ("max_position_embeddings", "n_positions", "seq_length")
    context = config.integer(*names, default=8192, maximum=10**8)
    scaling = config.section("rope_scaling")
    kind = scaling.text("rope_type", "type", default="") if scaling else ""
    if scaling is None or kind not in STRETCHED:
        return context
    factor = scaling.number("factor", default=1.0, minimum=1.0, maximum=1024.0)
    own = scaling.integer("original_max_position_embeddings", default=context, maximum=10**8)
    return max(context, int((own if kind == "yarn" else context) * factor))


def read_vocab(config: ConfigReader, outer: ConfigReader) -> int:
    """Entries of the vocabulary."""
    nested = outer.integer("vocab_size") if outer.has("vocab_size") else None
    return config.integer("vocab_size", default=nested)


def read_kv_heads(config: ConfigReader, heads: int) -> int:
    """Key and value heads: as many as query heads, fewer, or one."""
    if config.boolean("multi_query", default=False):
        return 1
    kv_heads = config.integer("num_key_value_heads", default=heads, maximum=4096)
    if heads % kv_heads:
        allowed = f"a divisor of num_attention_heads, {heads}"
        raise config.error("num_key_value_heads", kv_heads, allowed)
    return kv_heads


def read_head_dim(config: ConfigReader, hidden: int, heads: int, family: Family) -> int:
    """Size of a head."""
    if config.has("head_dim"):
        return config.integer("head_dim", maximum=4096)
    if family.attention == "standard" and hidden % heads:
        allowed = f"a divisor of hidden_size, {hidden}, or head_dim declared as well"
        raise config.error("num_attention_heads", heads, allowed)
    return max(hidden // heads, 1)


def read_intermediate(config: ConfigReader, hidden: int) -> int:
    """Inner size of an ordinary MLP."""
    names = ("intermediate_size_mlp", "intermediate_size", "n_inner", "ffn_hidden_size")
    if not config.has(*names) and config.has("n_embd"):
        return 4 * hidden
    if not config.has(*names) and config.has("moe_intermediate_size"):
        return config.integer("moe_intermediate_size")
    if config.has("shared_intermediate_size") and not has_experts(config):
        return config.integer("shared_intermediate_size")
    return config.integer(*names)


def with_declared_biases(family: Family, config: ConfigReader) -> Family:
    """The family with what config.json says of biases and of norms of queries and keys."""
    biases = config.boolean("use_bias", default=False) if config.has("use_bias") else None
    qkv = family.qkv_bias if biases is None else biases
    output = family.output_bias if biases is None else biases
    mlp = family.mlp_bias if biases is None else biases
    qkv = config.boolean("attention_bias", "use_qkv_bias", "qkv_bias", default=qkv)
    if config.text("model_type") in {"llama", "granite", "qwen3", "qwen3_moe", "cohere"}:
        output = config.boolean("attention_bias", default=output)
    output = config.boolean("attention_out_bias", default=output)
    norm = family.qk_norm
    if config.boolean("use_qk_norm", default=False) and norm == "none":
        norm = "head"
    return replace(
        family,
        qkv_bias=qkv,
        output_bias=output,
        mlp_bias=config.boolean("mlp_bias", default=mlp),
        qk_norm=norm,
    )


def read_dtype(config: ConfigReader, outer: ConfigReader) -> Dtype:
    """Type of the weights that are not quantised."""
    for reader in (config, outer):
        if reader.has("torch_dtype", "dtype"):
            name = reader.text("torch_dtype", "dtype").removeprefix("torch.")
            if name not in DTYPES:
                raise reader.error("torch_dtype", name, ", ".join(DTYPES))
            return DTYPES[name]
    return "bfloat16"
