"""The vision tower of a multimodal model."""

from __future__ import annotations

from deploy.catalog.config_reader import ConfigReader


def vision_parameters(outer: ConfigReader) -> int:
    """Parameters of a vision transformer of the usual form, patch embedding included."""
    vision = outer.section("vision_config")
    if vision is None:
        return 0
    hidden = vision.integer("hidden_size", "vt_hidden_size", "embed_dim", default=0, minimum=0)
    layers = vision.integer(
        "num_hidden_layers", "vt_num_hidden_layers", "depth", "layers", default=0, minimum=0
    )
    inner = vision.integer(
        "intermediate_size", "vt_intermediate_size", default=4 * hidden, minimum=0
    )
    patch = vision.integer("patch_size", default=14, maximum=1024)
    return layers * (4 * hidden * hidden + 2 * hidden * inner) + 3 * patch * patch * hidden
