"""``atelier gpus``."""

import json
from pathlib import Path

from deploy.catalog import load_catalog
from tests.cli.run import run


def names(*arguments: str) -> list[str]:
    return [gpu["id"] for gpu in json.loads(run("gpus", *arguments, "--json"))["gpus"]]


def test_without_filters_it_lists_every_gpu() -> None:
    assert names() == list(load_catalog().gpus)


def test_by_vendor() -> None:
    assert names("--vendor", "amd") == [
        "mi210",
        "mi300x",
        "mi325x",
        "mi355x",
        "r9700",
        "strix-halo-128",
        "rx-7900-xtx",
    ]


def test_by_memory() -> None:
    assert names("--vendor", "nvidia", "--min-memory", "90") == [
        "rtx-pro-6000",
        "h100-nvl",
        "h200",
        "h20",
        "gh200",
        "b200",
        "b300",
        "gb10",
    ]


def test_json_has_what_the_reference_documents() -> None:
    gpus = {gpu["id"]: gpu for gpu in json.loads(run("gpus", "--json"))["gpus"]}
    l40s = gpus["l40s"]
    assert (l40s["usable_memory_gib"], l40s["usable_memory_is_measured"]) == (44.42, True)
    assert (l40s["price_eur"], l40s["price"]["date"]) == (6000, "2025-04-01")
    assert (gpus["a10"]["price_eur"], gpus["a10"]["price"]) == (None, None)
    assert l40s["dense_tflops"]["bf16"] == 362
    assert gpus["cpu"]["memory_gib"] is None


def test_hosts_without_cards_are_told_as_that(tmp_path: Path) -> None:
    inventory = tmp_path / "lab.yaml"
    inventory.write_text("name: lab\nhosts: [{name: gpu1}]\nmodels: [{name: tiny-coder}]\n")
    assert run("gpus", str(inventory)).startswith("No host declares GPUs")
    assert json.loads(run("gpus", str(inventory), "--json")) == {"cards": []}


def test_the_table_fits_80_columns() -> None:
    lines = run("gpus").splitlines()
    assert max(map(len, lines)) <= 80
    words = set(" ".join(lines).split())
    assert [name for name in load_catalog().gpus if name not in words] == []


def test_measured_and_derived_memory_are_told_apart() -> None:
    rows = {line.split()[0]: line.split() for line in run("gpus").splitlines() if line.strip()}
    assert rows["l40s"][2] == "44.4"
    assert rows["l4"][2] == "~22.1"
    assert rows["t4"][4] == "65*"


def test_no_match_is_said() -> None:
    assert run("gpus", "--vendor", "apple", "--min-memory", "1000") == (
        "No GPU of the catalogue matches.\n"
    )
