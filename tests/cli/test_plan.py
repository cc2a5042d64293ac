"""``atelier plan`` and ``atelier models --fits``."""

import json
from pathlib import Path

from tests.cli.run import run

TOO_LARGE = """name: lab
hosts: [{name: gpu1, gpus: 1x rtx-3060}]
engine: {kind: vllm}
models: [{name: qwen2.5-coder-32b}]
"""


def test_a_refusal_is_explained(tmp_path: Path) -> None:
    inventory = tmp_path / "lab.yaml"
    inventory.write_text(TOO_LARGE, encoding="utf-8")
    message = run("plan", str(inventory), stream="stderr", status=1)
    assert "qwen2.5-coder-32b does not fit on 1x rtx-3060" in message.replace("\n", " ")
    error = json.loads(run("plan", str(inventory), "--json", status=1))
    assert error["problems"][0]["path"] == "models[0].name"


def test_models_that_fit() -> None:
    text = run("models", "--fits", "1x rtx-3060", "--role", "chat")
    assert "qwen2.5-coder-7b" in text
    assert "qwen2.5-coder-32b" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_models_that_fit_as_json() -> None:
    found = json.loads(run("models", "--fits", "4x h100", "--family", "qwen2.5-coder", "--json"))
    rows = {row["id"]: row["fits"] for row in found["models"]}
    assert rows["qwen2.5-coder-32b"]["engine"] == "vllm"
    assert rows["qwen2.5-coder-32b"]["concurrent_users"] >= 100


SEVERAL = """name: lab
profile: individual
hosts: [{name: a, address: 10.0.0.1}, {name: b, address: 10.0.0.2}, NATIVE]
models: [{name: tiny-coder, replicas: 3}]
"""
NATIVE = (
    "{name: c, address: 10.0.0.3, engines: native,"
    " programs: {llama-server: {path: /opt/llama/llama-server}}}"
)


def test_how_engines_on_other_hosts_are_reached(tmp_path: Path) -> None:
    inventory = tmp_path / "lab.yaml"
    inventory.write_text(SEVERAL.replace("NATIVE", NATIVE), encoding="utf-8")
    text = " ".join(run("plan", str(inventory)).split())
    assert "replica 0 a, CPU, 2 requests at once replica 1" in text
    assert "reached over TLS, at port 8443 of b" in text
    assert "reached without TLS, at port 8000 of c" in text
    found = json.loads(run("plan", str(inventory), "--json"))
    hop = {"client": "a", "server": "b", "asks": "router", "asked": "engine"}
    assert found["links"] == {"host": "a", "ends": ["b"], "port": 8443, "hops": [hop]}
    assert [each["is_linked"] for each in found["replicas"]] == [False, True, False]
