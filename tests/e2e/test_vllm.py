"""vLLM for real, on this machine's CPUs: what it serves, and what the router hands on.

One deployment is changed from the least to two processes that share each layer. A second model
makes embeddings of the same weights, and a third one ranks documents with them.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import struct
import tarfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from docker.models.containers import Container
from openai import BadRequestError, OpenAI

from deploy.services.container import LABEL_DEPLOYMENT
from tests.e2e.names import CHECKOUT
from tests.e2e.privacy import look_for_leaks, searched
from tests.e2e.site import MASTER_KEY, Settings, Site, free_port, run_local_site

NAME = f"e2e-vllm-{CHECKOUT}"
WEIGHTS = Path(__file__).parent / "tiny_coder"
QUICK = "quick"
CODER, VECTORS, JUDGE = "vllm-tiny-coder", "vllm-tiny-vectors", "vllm-tiny-judge"
GONE = f"{NAME}-vllm-gone"
"""A volume as a replica that is no longer declared leaves it."""
LONG = 200
"""Tokens of a chat that lasts much longer than what a busy machine adds to an answer."""
PORT, ESTABLISHED, LOOPBACK, NOTHING_TO_READ = 8000, "01", "0100007F", ":00000000"
"""The engine's port, and what Linux writes in /proc/net/tcp: of a connection, of 127.0.0.1, and of
what has arrived and was not read."""
TAKEN_SECONDS = 27
"""For requests to reach an engine that is stopped, twice: then it is not yet taken to hang."""
LAYERS, HIDDEN, RANK = 4, 128, 8
KV_CACHE_TOKENS = 1024**3 // (LAYERS * 2 * 2 * 32 * 2)
"""In 1 GiB: of each layer, keys and values of 2 heads of 32 numbers of 16 bits."""
START_TIMEOUT_SECONDS = 600
HANG_SECONDS = 60
STOP_CORE = """
import os, pathlib, signal
[core] = [p for p in pathlib.Path("/proc").glob("[0-9]*/comm") if "EngineCor" in p.read_text()]
os.kill(int(core.parent.name), signal.SIGSTOP)
"""
READ: Any = {
    "type": "function",
    "function": {"name": "read", "parameters": {"type": "object", "properties": {}}},
}
AS_A_JUDGE = {
    "architectures": ["Qwen2ForSequenceClassification"],
    "classifier_from_token": ["n", "y"],
    "method": "from_2_way_softmax",
}
"""How vLLM makes one that ranks of a model that writes: it compares two of its next tokens."""
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
            "scheduling_policy": "priority",
            "enforce_eager": True,
            "hang_seconds": HANG_SECONDS,
            "start_timeout_seconds": START_TIMEOUT_SECONDS,
        },
        "router": {
            "port": free_port(),
            "aliases": {QUICK: "tiny-coder"},
            "priorities": {QUICK: -7},
        },
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


def rank(site: Site, model: str, documents: list[str]) -> list[dict[str, Any]]:
    """What a client is answered that asks the router for the most relevant documents."""
    answer = httpx.post(
        f"{site.router_url}/v1/rerank",
        headers={"Authorization": f"Bearer {MASTER_KEY}"},
        json={"model": model, "query": "def fib(n):", "documents": documents},
        timeout=60,
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["results"]
    return found


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
    assert {model.id for model in client.models.list()} == {"tiny-coder", "twisted", QUICK}
    assert completion(client, "twisted") != completion(client)


def metric(site: Site, name: str) -> float:
    """The sum of a figure of the engine's, asked in the network of the deployment."""
    asked = ["python3", "-c", METRICS.format(engine=f"{NAME}-{CODER}-0")]
    status, output = site.container("litellm").exec_run(asked)
    assert status == 0, output
    assert isinstance(output, bytes)
    found = re.findall(rf"^vllm:{name}\{{.*\}} ([\d.]+)$", output.decode(), re.MULTILINE)
    return sum(map(float, found))


@contextmanager
def engine_core_stopped(site: Site) -> Iterator[None]:
    """The process that computes does nothing, while the one in front of it takes requests."""
    processes = site.container(CODER).top()["Processes"]
    cores = [int(process[1]) for process in processes if "EngineCore" in process[-1]]
    assert len(cores) == 1, processes
    os.kill(cores[0], signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(cores[0], signal.SIGCONT)


def wait_until_taken(site: Site, count: int) -> None:
    """Wait until the engine has taken so many requests, and no more are on their way.

    A connection says only that a request comes: on a busy machine the engine would read a later one
    before it. So all that came over them is read, and router and engine wait, twice in a row.
    """
    seen, deadline = 0, time.monotonic() + TAKEN_SECONDS
    while seen < 2:
        assert time.monotonic() < deadline, f"{requests(site)} of {count} requests are taken"
        time.sleep(0.1)
        is_working = is_busy(site, CODER) or is_busy(site, "litellm")
        seen = 0 if is_working or requests(site) != count else seen + 1


def requests(site: Site) -> int:
    """Connections from the router to the engine of which all is read, each with one request."""
    pid = site.container(CODER).attrs["State"]["Pid"]
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return sum(
        row[1].endswith(f":{PORT:04X}")
        and row[3] == ESTABLISHED
        and row[4].endswith(NOTHING_TO_READ)
        and not row[2].startswith(LOOPBACK)
        for row in rows
    )


def is_busy(site: Site, service: str) -> bool:
    """Whether a thread of its processes runs, or waits for a processor or the disk."""
    pids = [process[1] for process in site.container(service).top()["Processes"]]
    states = set()
    for pid in pids:
        for path in Path(f"/proc/{pid}/task").glob("*/stat"):
            with suppress(OSError):
                states.add(path.read_text().rpartition(")")[2].split()[0])
    return bool(states & {"R", "D"})


def overtaken(site: Site, client: OpenAI, ask: Callable[[], Any]) -> int:
    """How many of 16 long chats, of 4 at a time, are not answered yet when a later request is."""

    def long_chat(number: int) -> None:
        messages: Any = [{"role": "user", "content": f"ping {number}"}]
        chat(client, messages=messages, max_tokens=LONG, extra_body={"ignore_eos": True})

    with ThreadPoolExecutor(17) as pool:
        with engine_core_stopped(site):
            chats = [pool.submit(long_chat, number) for number in range(16)]
            wait_until_taken(site, 16)
            later = pool.submit(ask)
            wait_until_taken(site, 17)
        later.result()
        left = sum(not chat.done() for chat in chats)
        for each in chats:
            each.result()
    return left


def test_completions_go_before_chats(site: Site, client: OpenAI) -> None:
    def ask_quickly() -> None:
        messages: Any = [{"role": "user", "content": "ping"}]
        client.chat.completions.create(model=QUICK, messages=messages, max_tokens=4)

    def forge() -> None:
        """A client's own priority counts for nothing."""
        chat(client, max_tokens=4, extra_body={"priority": -100, "top_k": 1})

    assert overtaken(site, client, lambda: completion(client)) > 4
    assert overtaken(site, client, ask_quickly) > 4
    assert overtaken(site, client, forge) <= 4


def test_a_suffix_is_refused_as_something_that_the_model_cannot_do(client: OpenAI) -> None:
    with pytest.raises(BadRequestError, match="suffix"):
        client.completions.create(model="tiny-coder", prompt="def fib(n):", suffix="return a")


def test_metrics_are_for_the_network_of_the_deployment_alone(site: Site, client: OpenAI) -> None:
    assert completion(client)
    assert metric(site, "generation_tokens_total") > 0
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
    # all replicas of the host have the same
    assert mounts["/root/.cache/vllm"] == f"{NAME}-{CODER}"
    archive, _ = container.get_archive("/root/.cache/vllm")
    content = b"".join(archive)
    with tarfile.open(fileobj=BytesIO(content)) as files:
        assert sum("/modelinfos/" in name for name in files.getnames()) > 0
    [key] = [
        value for value in container.attrs["Config"]["Env"] if value.startswith("VLLM_API_KEY=")
    ]
    assert key.partition("=")[2].encode() not in content


def test_nothing_of_what_people_ask_is_kept(site: Site) -> None:
    """Not in the log of vLLM, nor in what it writes into its caches."""
    answer = look_for_leaks(site)
    engine = f"{NAME}-{CODER}-0"
    assert {f"log {engine}", f"files {engine}"} <= set(searched(answer))
    ended = [row["ended"] for row in answer["asked"]]
    assert ended.count("200") > 5
    assert ended.count("400") > 5


def status_of(site: Site, tokens: int = 1) -> int:
    """The status of a completion through the router."""
    body = {"model": "tiny-coder", "prompt": "def fib(n):", "max_tokens": tokens}
    headers = {"Authorization": f"Bearer {MASTER_KEY}"}
    url = f"{site.router_url}/v1/completions"
    own: Any = {"headers": headers, "timeout": 300, "trust_env": False}
    return httpx.post(url, json=body | {"ignore_eos": True}, **own).status_code


def first_failure(site: Site) -> int:
    """One long completion after the other, so that one always runs, up to the first that fails."""
    while (status := status_of(site, 1900)) == 200:
        pass
    return status


def wait_until(true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(1)


def health(container: Container) -> str:
    return str(container.attrs["State"]["Health"]["Status"])


def test_one_whose_core_hangs_is_found_and_started_again(site: Site) -> None:
    """Its /health says 200; with requests that ran before it hung, and one that came later."""

    container = site.container(CODER)
    with ThreadPoolExecutor(3) as pool:
        long = [pool.submit(first_failure, site) for _ in range(2)]
        wait_until(lambda: metric(site, "num_requests_running") == 2, 120)
        stopped, _ = container.exec_run(["python3", "-c", STOP_CORE])
        assert stopped == 0
        later = pool.submit(status_of, site)
        check = container.attrs["Config"]["Healthcheck"]["Test"][-1]
        assert container.exec_run(["sh", "-c", check])[0] == 0
        # no later than that the watch has ended it; streams may be silent for 300 s on CPUs
        failed = [each.result(timeout=150) for each in (*long, later)]
    assert set(failed) <= {500, 502, 503}, failed
    wait_until(lambda: site.container(CODER).attrs["RestartCount"] == 1, 60)
    wait_until(lambda: status_of(site) == 200, START_TIMEOUT_SECONDS)
    wait_until(lambda: health(site.container(CODER)) == "healthy", 60)
    said = container.logs().decode()
    assert "atelier: this engine hangs and is started again: nothing has moved for" in said
    assert re.search(r"atelier: process \d+ VLLM::EngineCor: state T, ", said)
    # its Python says where each thread was, the stopped one too
    assert said.count("Fatal Python error: Aborted") >= 2
    assert "run_busy_loop" in said
    shown = json.loads(site.atelier("status", "--json").stdout)
    [row] = [each for each in shown["services"] if each["service"] == container.name]
    assert (row["restarts"]["count"], row["hangs"]["times"]) == (1, 1)
    assert row["hangs"]["why"].startswith("nothing has moved for ")


def test_nothing_is_left_to_do(site: Site) -> None:
    again = site.deploy()
    assert (again.status, again.succeeded, again.changes) == (0, 0, []), again.output


@pytest.mark.long
def test_two_processes_and_models_that_write_nothing(
    site: Site, settings: Settings, client: OpenAI
) -> None:
    """Ordinary changes: the model is split, and others come, for embeddings and to rank."""
    [coder] = settings["models"]
    split = {"kind": "vllm", "tensor_parallel_size": 2}
    vectors = {
        "name": "tiny-vectors",
        "config": str(WEIGHTS / "config.json"),
        "weights": str(WEIGHTS),
        "roles": ["embedding"],
    }
    judge = vectors | {
        "name": "tiny-judge",
        "roles": ["rerank"],
        "extra_args": ["--hf-overrides", json.dumps(AS_A_JUDGE)],
    }
    site.client.volumes.create(GONE, labels={LABEL_DEPLOYMENT: NAME})
    site.write(site.settings | {"models": [coder | {"engine": split}, vectors, judge]})
    planned = site.dry_run()
    assert planned.status == 0, planned.output
    names = {("recreate", f"container {NAME}-{CODER}-0")}
    names |= {("create", f"container {NAME}-{other}-0") for other in (VECTORS, JUDGE)}
    names |= {("remove", f"volume {GONE}")}
    assert names <= planned.announced
    done = site.deploy()
    assert done.status == 0, done.output
    assert done.announcements == planned.announcements, done.output
    again = site.deploy()
    assert (again.status, again.succeeded, again.changes) == (0, 0, []), again.output

    asked = command(site)
    assert asked[asked.index("--tensor-parallel-size") + 1] == "2"
    assert "a, b = b, a + b" in completion(client)
    vector = client.embeddings.create(model="tiny-vectors", input="def fib(n):").data[0].embedding
    assert len(vector) == HIDDEN
    assert GONE not in {volume.name for volume in site.client.volumes.list()}
    ranked = rank(site, "tiny-judge", ["def fib(n):", "a garden", "return n"])
    assert {row["index"] for row in ranked} == {0, 1, 2}
    scores = [row["relevance_score"] for row in ranked]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == 3
    found = checks(site)
    # each process has 1 GiB, and half of the heads
    assert f"KV cache {2 * KV_CACHE_TOKENS:,} tokens" in found["engine tiny-coder"]["detail"]
    assert found["engine tiny-coder"]["warning"] == ""
    assert found["router tiny-vectors embedding"]["ok"]
    assert found["router tiny-judge reranking"]["ok"]
