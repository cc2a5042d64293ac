"""GPUs that an inventory can name."""

from __future__ import annotations

from typing import Literal

from deploy.catalog.entry import Entry


class Gpu(Entry):
    """One kind of GPU."""

    vendor: Literal["nvidia", "amd"]
    """Who makes it."""
    memory_gib: int
    """Memory in GiB as the vendor states it."""
