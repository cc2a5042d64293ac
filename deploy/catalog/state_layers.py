"""Layers that keep a state of fixed size in place of every token: gated delta net and Mamba2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deploy.catalog.config_reader import ConfigReader

StateKind = Literal["delta", "mamba2"]
CONV_KERNEL = 4
STATE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "auto": 0}


@dataclass(frozen=True)
class StateLayers:
    """What every such layer of a model keeps for a request."""

    kind: StateKind
    """Gated delta net (Qwen3-Next, Qwen3.5) or Mamba2 (Granite 4, Bamba)."""
    heads: int
    """Heads of the state; in a delta net the value heads."""
    head_dim: int
    """Size of such a head."""
    groups: int
    """Groups that share inputs; in a delta net the key heads."""
    state_dim: int
    """Width of the state; in a delta net the size of a key head."""
    conv_kernel: int
    """Width of the convolution before it."""
    element_bytes: int
    """Bytes of an element of the state; 0 for the type of the model."""

    @property
    def inner(self) -> int:
        """All heads together."""
        return self.heads * self.head_dim

    def conv_channels(self, tp: int = 1) -> int:
        """Channels of the convolution on one GPU."""
        groups = self.groups
        if self.kind == "mamba2" and groups % tp:
            groups = tp
        return -(-(self.inner + 2 * groups * self.state_dim) // tp)

    def state_bytes(self, tp: int, dtype_bytes: int, speculative_tokens: int = 0) -> int:
        """Bytes of one layer's state of one request on one GPU.

        The convolution keeps an input more for each token drafted.

        vllm/model_executor/layers/mamba/mamba_utils.py, ``gated_delta_net_state_shape`` and
        ``mamba2_state_shape``.
        """
        kept = self.conv_kernel - 1 + speculative_tokens
        conv = self.conv_channels(tp) * kept * dtype_bytes
        heads = -(-self.heads // tp)
        return conv + heads * self.head_dim * self.state_dim * (self.element_bytes or dtype_bytes)


def read_state_layers(config: ConfigReader, kind: StateKind, default_type: str) -> StateLayers:
    """Read them from the contents of config.json."""
    name = config.text("mamba_ssm_dtype", "mamba_ssm_cache_dtype", default=default_type)
    if name not in STATE_BYTES:
        raise config.error("mamba_ssm_dtype", name, ", ".join(STATE_BYTES))
    if kind == "delta":
        return StateLayers(
            kind=kind,
            heads=config.integer("linear_num_value_heads", maximum=4096),
            head_dim=config.integer("linear_value_head_dim", maximum=4096),
            groups=config.integer("linear_num_key_heads", maximum=4096),
            state_dim=config.integer("linear_key_head_dim", maximum=4096),
            conv_kernel=config.integer("linear_conv_kernel_dim", default=CONV_KERNEL, maximum=64),
            element_bytes=STATE_BYTES[name],
        )
    return StateLayers(
        kind=kind,
        heads=config.integer("mamba_n_heads", "mamba_num_heads", maximum=4096),
        head_dim=config.integer("mamba_d_head", "mamba_head_dim", maximum=4096),
        groups=config.integer("mamba_n_groups", "n_groups", maximum=4096),
        state_dim=config.integer("mamba_d_state", "ssm_state_size", maximum=4096),
        conv_kernel=config.integer("mamba_d_conv", "conv_kernel", default=CONV_KERNEL, maximum=64),
        element_bytes=STATE_BYTES[name],
    )
