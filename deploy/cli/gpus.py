"""``atelier gpus``: what models can run on."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy.catalog import Gpu, load_catalog
from deploy.cli.live_gpus import show_cards
from deploy.cli.options import JsonOption
from deploy.cli.output import console, print_json, print_table

COLUMNS = ["GPU", "GiB", "usable", "GB/s", "BF16", "FP8", "INT8", "link", "W", "EUR"]
LEGEND = (
    "usable: GiB that torch reports, ~ by rule. GB/s: memory. BF16 (*: FP16), FP8 and\n"
    "INT8: dense TFLOPS. link: GB/s between GPUs, both ways. EUR: date in --json."
)


class VendorName(StrEnum):
    """The vendors, as the command line spells them."""

    NVIDIA = "nvidia"
    AMD = "amd"
    APPLE = "apple"
    CPU = "cpu"


def gpus(
    inventory: Annotated[
        Path | None,
        typer.Argument(metavar="INVENTORY", help="Show the cards of its hosts at work."),
    ] = None,
    host: Annotated[
        str | None, typer.Option(metavar="HOST", help="With INVENTORY: only of this host.")
    ] = None,
    vendor: Annotated[VendorName | None, typer.Option(help="Only this vendor's.")] = None,
    min_memory: Annotated[
        float, typer.Option(metavar="GIB", min=0, help="Only with this much memory, in GiB.")
    ] = 0,
    json: JsonOption = False,
) -> None:
    """List the GPUs of the catalogue, or those of the hosts of an inventory and who uses them.

    Memory is in GiB, bandwidth in GB/s, compute in dense TFLOPS, power in watts. JSON of an
    inventory: {"cards": [{"host", "vendor", "index", "name", "driver_version", "memory_used_mib",
    "memory_mib", "temperature_celsius", "power_watts", "power_limit_watts", "utilization_percent",
    "users": [{"pid", "name", "container", "memory_mib"}]}]}; null is what a driver does not say.
    """
    if inventory or host:
        show_cards(inventory, host, as_json=json)
        return
    chosen = {
        name: gpu
        for name, gpu in load_catalog().gpus.items()
        if vendor in (None, gpu.vendor) and (gpu.memory_gib or 0) >= min_memory
    }
    if json:
        print_json({"gpus": [gpu_to_json(name, gpu) for name, gpu in chosen.items()]})
    elif chosen:
        print_table("GPUs", COLUMNS, [_row(name, gpu) for name, gpu in chosen.items()], COLUMNS[1:])
        console.print(LEGEND, markup=False)
    else:
        console.print("No GPU of the catalogue matches.")


def gpu_to_json(name: str, gpu: Gpu) -> dict[str, Any]:
    """A GPU as ``--json`` prints it."""
    return {
        "id": name,
        **gpu.model_dump(mode="json"),
        "price_eur": gpu.price_eur,
        "usable_memory_gib": gpu.usable_memory_gib,
        "usable_memory_is_measured": gpu.usable_memory_is_measured,
    }


def _row(name: str, gpu: Gpu) -> list[str]:
    tflops = gpu.dense_tflops
    usable = _number(gpu.usable_memory_gib)
    bf16 = _number(tflops.bf16) if tflops.bf16 else f"{_number(tflops.fp16)}*".replace("-*", "-")
    return [
        name,
        _number(gpu.memory_gib),
        usable if gpu.usable_memory_is_measured or usable == "-" else f"~{usable}",
        _number(gpu.memory_bandwidth_gb_per_second),
        bf16,
        _number(tflops.fp8),
        _number(tflops.int8),
        _number(gpu.interconnect_gb_per_second or None),
        _number(gpu.power_watts),
        _number(gpu.price_eur),
    ]


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if value < 100 and value != int(value) else f"{value:.0f}"
