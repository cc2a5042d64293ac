"""Multi-head latent attention (MLA), and the index of DeepSeek's sparse attention."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.catalog.config_reader import ConfigReader


@dataclass(frozen=True)
class Mla:
    """Multi-head latent attention: keys and values compressed into one latent."""

    kv_lora_rank: int
    """Size of the latent."""
    q_lora_rank: int
    """Size of the queries' latent; 0 without."""
    nope_head_dim: int
    """Part of a head without position."""
    rope_head_dim: int
    """Part of a head with position; kept once per token."""
    v_head_dim: int
    """Size of a head's value."""
    index_heads: int = 0
    """Heads that choose the tokens to attend to (sparse attention); 0 without."""
    index_head_dim: int = 0
    """Size of such a head; one key of this size is kept per token."""

    @property
    def is_sparse(self) -> bool:
        """Whether an index chooses the tokens to attend to."""
        return self.index_heads > 0


def read_mla(config: ConfigReader) -> Mla:
    """Read it from the contents of config.json."""
    return Mla(
        kv_lora_rank=config.integer("kv_lora_rank", maximum=65536),
        q_lora_rank=config.integer("q_lora_rank", default=0, minimum=0, maximum=65536),
        nope_head_dim=config.integer("qk_nope_head_dim", maximum=4096),
        rope_head_dim=config.integer("qk_rope_head_dim", maximum=4096),
        v_head_dim=config.integer("v_head_dim", maximum=4096),
        index_heads=config.integer("index_n_heads", default=0, minimum=0, maximum=4096),
        index_head_dim=config.integer("index_head_dim", default=0, minimum=0, maximum=4096),
    )
