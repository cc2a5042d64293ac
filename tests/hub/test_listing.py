"""What the hub lists, and which of it vLLM needs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deploy.hub import HubFile, needed_files, parse_listing
from deploy.hub.choose import has_weights
from deploy.hub.listing import file_url, listing_url

COMMIT = "c0" * 20
GIT, LARGE = "ab" * 20, "cd" * 32


def answer(*siblings: dict[str, Any], **more: Any) -> str:
    return json.dumps({"sha": COMMIT, "siblings": list(siblings)} | more)


def row(path: str, **more: Any) -> dict[str, Any]:
    return {"rfilename": path, "size": 5, "blobId": GIT} | more


def test_large_files_are_named_by_their_sha256() -> None:
    lfs = {"sha256": LARGE, "size": 7_000_000_000, "pointerSize": 135}
    text = answer(row("model.safetensors", size=135, lfs=lfs), row("config.json"))
    listing = parse_listing("lab/coder", text)
    assert listing.commit == COMMIT
    assert listing.files == (
        HubFile("config.json", 5, GIT),
        HubFile("model.safetensors", 7_000_000_000, LARGE),
    )
    assert listing.size_bytes == 7_000_000_005


def test_files_with_the_same_content_count_once() -> None:
    assert parse_listing("lab/coder", answer(row("a.json"), row("b.json"))).size_bytes == 5


@pytest.mark.parametrize(
    "text",
    [
        "<html>log in</html>",
        "[]",
        "{}",
        answer(sha="main"),
        answer(row("../../etc/passwd")),
        answer(row("/etc/passwd")),
        answer(row("a/./b")),
        answer(row("a\nb")),
        answer(row("")),
        answer(row("x", blobId="../x")),
        answer(row("x", size=-1)),
        answer(row("x", lfs={"sha256": GIT, "size": 1})),
    ],
)
def test_what_is_no_such_answer_is_refused(text: str) -> None:
    """Names and paths are used on file systems: what came over a network is not trusted."""
    with pytest.raises(ValueError, match=r".+"):
        parse_listing("lab/coder", text)


def test_addresses() -> None:
    assert listing_url("https://hub.lab", "lab/coder", "refs/pr/1") == (
        "https://hub.lab/api/models/lab/coder/revision/refs%2Fpr%2F1?blobs=true"
    )
    assert file_url("https://hub.lab", "lab/coder", COMMIT, "a b/c.json") == (
        f"https://hub.lab/lab/coder/resolve/{COMMIT}/a%20b/c.json"
    )


def chosen(*paths: str, load_format: str = "auto") -> list[str]:
    files = [HubFile(path, 1, GIT) for path in paths]
    return [file.path for file in needed_files(files, load_format)]


SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


@pytest.mark.parametrize(
    ("there", "needed"),
    [
        # meta-llama/Llama-3.1-8B-Instruct: the same weights a second time, as they were made
        (
            (*SHARDS, "config.json", "original/consolidated.00.pth", "original/params.json"),
            (*SHARDS, "config.json"),
        ),
        # mistralai/Mistral-7B-Instruct-v0.3: both sets at the top
        (
            (*SHARDS, "consolidated.safetensors", "params.json", "tokenizer.model"),
            (*SHARDS, "params.json", "tokenizer.model"),
        ),
        # mistralai/Devstral-Small-2507 and others: one set only
        (("consolidated.safetensors", "params.json"), ("consolidated.safetensors", "params.json")),
        (
            ("model.safetensors", "pytorch_model.bin", "flax_model.msgpack", "tf_model.h5"),
            ("model.safetensors",),
        ),
        (("pytorch_model.bin", "training_args.bin", "rust_model.ot"), ("pytorch_model.bin",)),
        (("model.pt", "optimizer.pt", "config.json"), ("config.json", "model.pt")),
        (("coder-q4_k_m.gguf", "README.md"), ("README.md",)),
        ((".gitattributes", "onnx/model.onnx", "model.safetensors"), ("model.safetensors",)),
        (
            ("model.safetensors.index.json", "modeling_lab.py", "chat_template.jinja", SHARDS[0]),
            ("chat_template.jinja", SHARDS[0], "model.safetensors.index.json", "modeling_lab.py"),
        ),
    ],
    ids=str,
)
def test_one_set_of_weights_is_needed(there: tuple[str, ...], needed: tuple[str, ...]) -> None:
    assert chosen(*there) == sorted(needed)


def test_the_load_format_decides() -> None:
    both = (*SHARDS, "consolidated.safetensors", "pytorch_model.bin", "model.pt")
    assert chosen(*both, load_format="mistral") == ["consolidated.safetensors"]
    assert chosen(*both, load_format="fastsafetensors") == list(SHARDS)
    assert chosen(*both, load_format="pt") == ["model.pt"]
    assert chosen(*both, load_format="sharded_state") == list(both)
    assert chosen("pytorch_model.bin", load_format="safetensors") == []


def test_a_repository_without_weights_is_seen() -> None:
    assert not has_weights(needed_files([HubFile("x.gguf", 1, GIT), HubFile("a.json", 1, GIT)]))
    assert has_weights([HubFile("sub/x.safetensors", 1, GIT)])
