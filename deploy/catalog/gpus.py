"""GPUs that an inventory can name, and the other things that models run on."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from deploy.catalog.entry import Entry

Vendor = Literal["nvidia", "amd", "apple", "cpu"]
APPLE_GPU_SHARE = 0.75
"""Share of a Mac's memory that Metal lets the GPU use by default (above 36 GB)."""
TORCH_SHARE = 0.98
"""Share of its memory that a card leaves to torch, where no one published a figure."""
INLINE_ECC_SHARE = 15 / 16
"""Share left by cards that keep the check bits of ECC in their own memory (GDDR6)."""


EUR_PER_USD = 0.8684
"""Average of June 2026, after the Federal Reserve (github.com/datasets/exchange-rates, monthly)."""


class DenseTflops(Entry):
    """Peak compute in 10^12 operations a second: dense (no sparsity), tensor or matrix cores.

    Where a vendor distinguishes, the figure is the one with accumulation in FP32, as engines do.
    """

    fp32: float | None = None
    """FP32 on the ordinary cores."""
    fp16: float | None = None
    """FP16."""
    bf16: float | None = None
    """BF16."""
    fp8: float | None = None
    """FP8."""
    int8: float | None = None
    """INT8, in TOPS."""


class Price(Entry):
    """What one card was sold for, as somebody published it."""

    amount: float = Field(gt=0)
    """In ``currency``; of a range, its middle."""
    currency: Literal["EUR", "USD"] = "EUR"
    """What it was paid in."""
    condition: Literal["new", "used"] = "new"
    """Whether a shop or a former owner sold it."""
    vat_percent: float = Field(default=0, ge=0, le=30)
    """Value-added tax that the amount includes."""
    date: str = Field(pattern=r"^20\d\d(-\d\d(-\d\d)?)?$")
    """When, as exactly as the source says."""
    source: str = Field(min_length=1)
    """Who published it."""

    @property
    def eur(self) -> int:
        """In EUR before tax."""
        rate = EUR_PER_USD if self.currency == "USD" else 1.0
        return round(self.amount * rate / (1 + self.vat_percent / 100))


class Gpu(Entry):
    """One kind of GPU. ``None`` says that a figure is unknown or does not apply."""

    name: str
    """Name the vendor sells it under."""
    sold_in: tuple[int, ...] = ()
    """How many are sold together: boards of 4 or 8, single machines; empty for cards in slots."""
    vendor: Vendor
    """Who makes it; ``cpu`` for the host's own processor and memory."""
    aliases: tuple[str, ...] = ()
    """Other spellings that are accepted for it."""
    memory_gib: int | None
    """Memory as the vendor states it."""
    memory_has_inline_ecc: bool = False
    """Whether ECC, on by default, takes its check bits out of that memory."""
    published_usable_memory_gib: float | None = None
    """Memory that torch reports, where somebody has published it."""
    memory_bandwidth_gb_per_second: float | None
    """Memory bandwidth in GB/s (10^9 bytes)."""
    dense_tflops: DenseTflops
    """Peak compute."""
    compute_capability: str | None = None
    """NVIDIA: compute capability, e.g. ``8.9``."""
    first_driver: str = ""
    """NVIDIA: the first version of the driver that knows it, where that matters today."""
    gfx: str | None = None
    """AMD: name of the instruction set, e.g. ``gfx942``."""
    supports_bf16: bool
    """Whether it computes in BF16."""
    supports_fp8: bool
    """Whether it computes in FP8; others can still keep weights in FP8."""
    interconnect_gb_per_second: float
    """NVLink or Infinity Fabric to the other GPUs, both directions together; 0 for PCIe only."""
    power_watts: int | None
    """Power of the card (of a Mac: the whole machine)."""
    price: Price | None = None
    """Price of one; without one a card is never recommended."""
    source: str
    """Where the figures come from."""
    usable_memory_source: str | None = None
    """Where ``published_usable_memory_gib`` comes from."""
    notes: str = Field(default="")
    """What the figures do not say."""

    @property
    def price_eur(self) -> int | None:
        """Price of one in EUR before tax."""
        return self.price.eur if self.price else None

    @property
    def usable_memory_is_measured(self) -> bool:
        """Whether somebody published the usable memory; else it follows from a rule."""
        return self.published_usable_memory_gib is not None

    @property
    def usable_memory_gib(self) -> float | None:
        """Memory that an engine can use, as torch reports it; published or by rule."""
        if self.published_usable_memory_gib is not None or self.memory_gib is None:
            return self.published_usable_memory_gib
        if self.vendor == "apple":
            return round(self.memory_gib * APPLE_GPU_SHARE, 2)
        share = TORCH_SHARE * (INLINE_ECC_SHARE if self.memory_has_inline_ecc else 1)
        return round(self.memory_gib * share, 2)

    @model_validator(mode="after")
    def _figures_have_a_date_and_a_source(self) -> Gpu:
        if (self.published_usable_memory_gib is None) != (self.usable_memory_source is None):
            raise ValueError("published_usable_memory_gib and usable_memory_source go together")
        return self
