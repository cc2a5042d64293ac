"""The vision tower of a multimodal model."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.catalog.config_reader import ConfigReader

QWEN_IMAGE_TOKENS = 16384
"""Tokens of the largest image that Qwen's processor takes (``longest_edge`` of 16777216 pixels;
vLLM logs a budget of 16384 tokens)."""
MERGED_PATCHES = 4
"""Patches of an image that become one token."""
FRAMES = 2
"""Frames of a patch."""
HIDDEN_KEYS = ("hidden_size", "vt_hidden_size", "embed_dim")
LAYER_KEYS = ("num_hidden_layers", "vt_num_hidden_layers", "depth", "layers")
"""Names for the size of the hidden state and the number of layers."""
PIXTRAL = frozenset({"mistral3", "pixtral"})
PIXTRAL_IMAGE_SIZE = 1540
"""Side of the largest image, in pixels."""
GEMMA3_IMAGE_SIZE, GEMMA3_TOKENS = 896, 256
"""Side of every image, and the tokens that it becomes (gemma3_mm.py)."""
FREE_SHARE = {"gemma4": 0.0625}
"""Encoders that take a share of the card: Gemma 4's positions as a one-hot matrix of int64, half
of a tenth of the card, and its cast (``_encoder_chunk`` in vLLM's gemma4_mm.py)."""


@dataclass(frozen=True)
class VisionEncoder:
    """What vLLM runs once on the largest image when it starts, to see how much memory it takes."""

    parameters: int
    """All of it, by its usual form, patch embedding included."""
    hidden: int = 0
    """Size of the hidden state."""
    intermediate: int = 0
    """Inner size of an MLP."""
    pixels: int = 0
    """Values of a patch."""
    patches: int = 0
    """Patches that are encoded at once; 0 where that is not known."""
    tokens: int = 0
    """Tokens that they become."""
    free_share: float = 0.0
    """Share of the card that it takes instead."""
    masks_attention: bool = False
    """Whether its attention takes a mask over all patches."""

    @property
    def is_known(self) -> bool:
        """Whether it is known how much memory it takes."""
        return self.patches > 0 or self.free_share > 0


def read_vision(outer: ConfigReader, model_type: str) -> VisionEncoder | None:
    """The encoder of a model with a ``vision_config``; ``None`` without."""
    vision = outer.section("vision_config")
    if vision is None:
        return None
    hidden = vision.integer(*HIDDEN_KEYS, default=0, minimum=0)
    layers = vision.integer(*LAYER_KEYS, default=0, minimum=0)
    inner = vision.integer(
        "intermediate_size", "vt_intermediate_size", default=4 * hidden, minimum=0
    )
    patch = vision.integer("patch_size", default=14, maximum=1024)
    area = 3 * patch * patch
    parameters = layers * (4 * hidden * hidden + 2 * hidden * inner) + area * hidden
    frames, tokens, patches = _largest_item(model_type, patch)
    share = FREE_SHARE.get(model_type.removesuffix("_unified"), 0.0)
    return VisionEncoder(
        parameters=parameters,
        hidden=hidden,
        intermediate=inner,
        pixels=area * frames,
        patches=patches,
        tokens=tokens,
        free_share=share,
        masks_attention=model_type in PIXTRAL,
    )


def _largest_item(model_type: str, patch: int) -> tuple[int, int, int]:
    """Frames of a patch; tokens and patches of the largest image, 0 where they are not known."""
    if model_type.startswith("qwen"):
        return FRAMES, QWEN_IMAGE_TOKENS, QWEN_IMAGE_TOKENS * MERGED_PATCHES
    if model_type in PIXTRAL:
        tokens = (PIXTRAL_IMAGE_SIZE // patch // 2) ** 2
        return 1, tokens, tokens * MERGED_PATCHES
    if model_type == "gemma3":
        return 1, GEMMA3_TOKENS, (GEMMA3_IMAGE_SIZE // patch) ** 2
    return 1, 0, 0
