"""How a model's weights are quantised, as its config.json says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from deploy.catalog.config_reader import ConfigReader
from deploy.catalog.model_families import declined

METHODS = ("none", "awq", "gptq", "fp8", "int8", "mxfp4", "nvfp4", "bitsandbytes")
DEFAULT_GROUP_SIZE = 128


@dataclass(frozen=True)
class Quantization:
    """How linear layers are stored."""

    method: str = "none"
    """One of ``METHODS``."""
    bits: int = 16
    """Bits per weight, without scales."""
    group_size: int = 0
    """Input channels that share a scale; 0 for one scale per output channel or tensor."""
    block_rows: int = 0
    """Output channels that share a scale, where blocks are square (DeepSeek's FP8)."""
    zero_points: bool = False
    """Whether each group has a zero point too."""
    skipped: tuple[str, ...] = ()
    """Names of modules that stay as they are."""

    @property
    def is_quantized(self) -> bool:
        """Whether anything is."""
        return self.method != "none"


NONE = Quantization()
BY_NAME = {
    "none": NONE,
    "awq": Quantization("awq", 4, DEFAULT_GROUP_SIZE, zero_points=True),
    "gptq": Quantization("gptq", 4, DEFAULT_GROUP_SIZE),
    "fp8": Quantization("fp8", 8),
    "int8": Quantization("int8", 8),
    "mxfp4": Quantization("mxfp4", 4, 32),
    "nvfp4": Quantization("nvfp4", 4, 16),
    "bitsandbytes": Quantization("bitsandbytes", 4, 64),
}
"""What a method usually means, for weights that somebody quantises."""


def read_quantization(config: ConfigReader) -> Quantization:
    """Read ``quantization_config``.

    Raises:
        ModelConfigError: if it contradicts itself.
        UnsupportedModelError: if its method is unknown.
    """
    section = config.section("quantization_config") or config.section("compression_config")
    if section is None:
        return NONE
    method = section.text("quant_method", default="").lower().replace("_", "-")
    reader = READERS.get(method)
    if reader is None and method.startswith("modelopt"):
        reader = _modelopt
    if reader is None:
        raise declined(f"quant_method {method!r}", "how it stores weights is unknown")
    return reader(section)


def _awq(section: ConfigReader) -> Quantization:
    return _grouped(section, "awq")


def _gptq(section: ConfigReader) -> Quantization:
    return _grouped(section, "gptq")


def _mxfp4(section: ConfigReader) -> Quantization:
    return Quantization("mxfp4", 4, 32, skipped=_skipped(section))


def _bitsandbytes(section: ConfigReader) -> Quantization:
    four = section.boolean("load_in_4bit", "_load_in_4bit", default=True)
    return Quantization("bitsandbytes", 4 if four else 8, 64, skipped=_skipped(section))


def _grouped(section: ConfigReader, method: str) -> Quantization:
    bits = section.integer("bits", "w_bit", default=4, maximum=8)
    group = section.integer("group_size", "q_group_size", default=128, minimum=-1, maximum=65536)
    zero_points = method == "awq" and section.boolean("zero_point", default=True)
    return Quantization(
        method, bits, max(group, 0), zero_points=zero_points, skipped=_skipped(section)
    )


def _fp8(section: ConfigReader) -> Quantization:
    block = section.items("weight_block_size")
    if block and not (len(block) == 2 and all(isinstance(n, int) and n > 0 for n in block)):
        raise section.error("weight_block_size", list(block), "two whole numbers, e.g. [128, 128]")
    rows, columns = block or (0, 0)
    return Quantization("fp8", 8, columns, rows, skipped=_skipped(section))


def _compressed_tensors(section: ConfigReader) -> Quantization:
    groups = section.section("config_groups")
    first = ConfigReader(groups.values()[0]) if groups and groups.values() else None
    weights = first.section("weights") if first else None
    if weights is None:
        return Quantization(skipped=_skipped(section))
    bits = weights.integer("num_bits", default=8, maximum=16)
    kind = weights.text("type", default="int")
    if kind not in {"int", "float"} or bits not in {4, 8}:
        raise declined(f"weights of type {kind} with {bits} bits", "how they are stored is unknown")
    if kind == "float" and bits == 4:
        return Quantization("nvfp4", 4, weights.integer("group_size", default=16))
    group = weights.integer("group_size", default=0, minimum=-1, maximum=65536)
    method = "fp8" if kind == "float" else "gptq" if bits == 4 else "int8"
    return Quantization(method, bits, max(group, 0), skipped=_skipped(section))


def _modelopt(section: ConfigReader) -> Quantization:
    """NVIDIA's ModelOpt: one algorithm for all linear layers but those it names."""
    inner = section.section("quantization") or section
    algorithm = inner.text("quant_algo", default="").upper()
    if algorithm in {"NVFP4", "W4A16_NVFP4"}:
        return Quantization("nvfp4", 4, 16, skipped=_skipped(inner))
    if algorithm in {"FP8", "FP8_PER_CHANNEL_PER_TOKEN"}:
        return Quantization("fp8", 8, skipped=_skipped(inner))
    raise declined(f"ModelOpt's quant_algo {algorithm!r}", "layers are stored in several ways")


def _skipped(section: ConfigReader) -> tuple[str, ...]:
    names: list[Any] = []
    for key in (
        "modules_to_not_convert",
        "ignored_layers",
        "ignore",
        "exclude_modules",
        "llm_int8_skip_modules",
    ):
        names.extend(section.items(key))
    return tuple(str(name) for name in names)


READERS: dict[str, Callable[[ConfigReader], Quantization]] = {
    "awq": _awq,
    "awq-marlin": _awq,
    "gptq": _gptq,
    "gptq-marlin": _gptq,
    "auto-round": _gptq,
    "fp8": _fp8,
    "fbgemm-fp8": _fp8,
    "mxfp4": _mxfp4,
    "bitsandbytes": _bitsandbytes,
    "compressed-tensors": _compressed_tensors,
}
"""Who reads which ``quant_method``."""
