"""vLLM for real, on this machine's CPUs: what it serves, and what the router hands on.

One deployment is changed from the least to two processes that share each layer. The second model
makes embeddings of the same weights.
"""

from __future__ import annotations

import json
import random
import re
import struct
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from openai import BadRequestError, OpenAI

from tests.e2e.names import CHECKOUT
from tests.e2e.site import MASTER_KEY, Settings, Site, free_port, run_local_site

NAME = f"e2e-vllm-{CHECKOUT}"
WEIGHTS = Path(__file__).parent / "tiny_coder"
CODER, VECTORS = "vllm-tiny-coder", "vllm-tiny-vectors"
TINY = 2048
LAYERS, HIDDEN, RANK = 4, 128, 8
KV_CACHE_TOKENS = 1024**3 // (LAYERS * 2 * 2 * 32 * 2)
"""In 1 GiB: of each layer, keys and values of 2 heads of 32 numbers of 16 bits."""
START_TIMEOUT_SECONDS = 420
READ: Any = {
    "type": "function",
    "function": {"name": "read", "parameters": {"type": "object", "properties": {}}},
}
METRICS = """
import urllib.request
print(urllib.request.urlopen('http://{engine}:8000/metrics', timeout=10).read().decode())
"""


def write_adapter(directory: Path) -> None:
    """A LoRA adapter of rank 8 for every layer's queries, with random numbers."""
    numbers = random.Random(0)  # noqa: S311 - not a secret
    tensors = {}
    for layer in range(LAYERS):
        prefix = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        tensors[f"{prefix}.lora_A.weight"] = (RANK, HIDDEN)
        tensors[f"{prefix}.lora_B.weight"] = (HIDDEN, RANK)
    header, data = {}, b""
    for name, (rows, columns) in tensors.items():
        values = [numbers.gauss(0, 1) for _ in range(rows * columns)]
        packed = struct.pack(f"<{len(values)}f", *values)
        offsets = [len(data), len(data) + len(packed)]
        header[name] = {"dtype": "F32", "shape": [rows, columns], "data_offsets": offsets}
        data += packed
    text = json.dumps(header).encode()
    directory.mkdir()
    (directory / "adapter_model.safetensors").write_bytes(
        struct.pack("<Q", len(text)) + text + data
    )
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(WEIGHTS),
        "r": RANK,
        "lora_alpha": 4 * RANK,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": ["q_proj"],
    }
    (directory / "adapter_config.json").write_text(json.dumps(config))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    adapter = tmp_path_factory.mktemp("adapters") / "twisted"
    write_adapter(adapter)
    return {
        "hosts": [{"name": "@local", "directory": str(tmp_path_factory.mktemp("host"))}],
        "models": [
            {
                "name": "tiny-coder",
                "weights": str(WEIGHTS),
                "max_num_seqs": 4,
                "tool_call_parser": "hermes",
                "lora_adapters": {"twisted": str(adapter)},
            }
        ],
        "engine": {
            "kind": "vllm",
            "offline": True,
            "enforce_eager": True,
            "start_timeout_seconds": START_TIMEOUT_SECONDS,
        },
        "router": {"port": free_port()},
        "web_ui": None,
        "image_source": "build",
        "secrets": {"router_master_key": {"env": "E2E_MASTER_KEY"}},
    }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Iterator[Site]:
    with run_local_site(NAME, tmp_path_factory.mktemp("site"), settings) as site:
        site.converge(site.settings)
        yield site


@pytest.fixture(scope="module")
def client(site: Site) -> OpenAI:
    return OpenAI(base_url=f"{site.router_url}/v1", api_key=MASTER_KEY, max_retries=0, timeout=120)


def completion(client: OpenAI, model: str = "tiny-coder") -> str:
    settings: Any = {"prompt": "def fib(n):", "max_tokens": 60, "temperature": 0}
    return str(client.completions.create(model=model, **settings).choices[0].text)


def chat(client: OpenAI, **more: Any) -> Any:
    messages: Any = [{"role": "user", "content": "ping"}]
    settings: Any = {"messages": messages, "max_tokens": 16, "temperature": 0} | more
    return client.chat.completions.create(model="tiny-coder", **settings)


def command(site: Site, service: str = CODER) -> list[str]:
    return list(site.container(service).attrs["Config"]["Cmd"])


def checks(site: Site) -> dict[str, dict[str, Any]]:
    asked = site.atelier("verify", "--json")
    assert asked.returncode == 0, asked.stdout + asked.stderr
    return {check["name"]: check for check in json.loads(asked.stdout)["checks"]}


def test_completions_and_chats_through_the_router(client: OpenAI) -> None:
    assert "a, b = b, a + b" in completion(client)
    assert chat(client).choices[0].message.content == "pong"
    parts = list(chat(client, stream=True))
    assert len(parts) > 1
    assert "".join(part.choices[0].delta.content or "" for part in parts) == "pong"


def test_tools_are_taken(client: OpenAI, site: Site) -> None:
    """vLLM refuses them with 400 unless it is told how to read their calls."""
    answer = chat(client, tools=[READ], tool_choice="auto").choices[0]
    assert (answer.message.content, answer.finish_reason) == ("pong", "stop")
    demanded = chat(client, tools=[READ], tool_choice="required", max_tokens=64).choices[0]
    assert [call.function.name for call in demanded.message.tool_calls] == ["read"]
    assert "--enable-auto-tool-choice" in command(site)


def test_an_adapter_is_a_model_of_its_own(client: OpenAI) -> None:
    assert {model.id for model in client.models.list()} == {"tiny-coder", "twisted"}
    assert completion(client, "twisted") != completion(client)


def test_a_suffix_is_refused_as_something_that_the_model_cannot_do(client: OpenAI) -> None:
    with pytest.raises(BadRequestError, match="suffix"):
        client.completions.create(model="tiny-coder", prompt="def fib(n):", suffix="return a")


def test_metrics_are_for_the_network_of_the_deployment_alone(site: Site, client: OpenAI) -> None:
    assert completion(client)
    engine = f"{NAME}-{CODER}-0"
    asked = ["python3", "-c", METRICS.format(engine=engine)]
    status, output = site.container("litellm").exec_run(asked)
    assert status == 0, output
    assert isinstance(output, bytes)
    counted = re.findall(rb"^vllm:generation_tokens_total\{.*\} ([\d.]+)$", output, re.MULTILINE)
    assert sum(map(float, counted)) > 0
    assert site.container(CODER).attrs["HostConfig"]["PortBindings"] in ({}, None)


def test_verify_shows_the_kv_cache_and_the_plan(site: Site) -> None:
    found = checks(site)
    engine = found["engine tiny-coder"]
    figures = f"KV cache {KV_CACHE_TOKENS:,} tokens, planned {KV_CACHE_TOKENS:,}; 512.0 requests"
    assert figures in engine["detail"]
    assert engine["warning"] == ""
    assert found["router twisted completion"]["ok"]


def test_the_caches_are_on_a_volume(site: Site) -> None:
    container = site.container(CODER)
    mounts = {
        mount["Destination"]: mount["Name"]
        for mount in container.attrs["Mounts"][:]
        if mount["Type"] == "volume"
    }
    assert mounts["/root/.cache/vllm"] == f"{NAME}-{CODER}-0"
    archive, _ = container.get_archive("/root/.cache/vllm/modelinfos")
    with tarfile.open(fileobj=BytesIO(b"".join(archive))) as files:
        assert len(files.getnames()) > 1


def test_nothing_is_left_to_do(site: Site) -> None:
    again = site.deploy()
    assert (again.status, again.succeeded, again.changes) == (0, 0, []), again.output


def test_two_processes_and_a_second_model(site: Site, settings: Settings, client: OpenAI) -> None:
    """Ordinary changes: the model is split, and another one comes that makes embeddings."""
    [coder] = settings["models"]
    split = {"kind": "vllm", "tensor_parallel_size": 2}
    vectors = {
        "name": "tiny-vectors",
        "config": str(WEIGHTS / "config.json"),
        "weights": str(WEIGHTS),
        "roles": ["embedding"],
    }
    site.write(site.settings | {"models": [coder | {"engine": split}, vectors]})
    planned = site.dry_run()
    assert planned.status == 0, planned.output
    names = {("recreate", f"container {NAME}-{CODER}-0")}
    names |= {("create", f"container {NAME}-{VECTORS}-0")}
    assert names <= planned.announced
    done = site.deploy()
    assert done.status == 0, done.output
    assert done.content == planned.content, done.output
    again = site.deploy()
    assert (again.status, again.succeeded, again.changes) == (0, 0, []), again.output

    asked = command(site)
    assert asked[asked.index("--tensor-parallel-size") + 1] == "2"
    assert "a, b = b, a + b" in completion(client)
    vector = client.embeddings.create(model="tiny-vectors", input="def fib(n):").data[0].embedding
    assert len(vector) == HIDDEN
    found = checks(site)
    # each process has 1 GiB, and half of the heads
    assert f"KV cache {2 * KV_CACHE_TOKENS:,} tokens" in found["engine tiny-coder"]["detail"]
    assert found["engine tiny-coder"]["warning"] == ""
    assert found["router tiny-vectors embedding"]["ok"]
