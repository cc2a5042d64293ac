"""The stand-in for vLLM that end-to-end tests deploy: its cards are as exclusive as real ones."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.fake_vllm import DIRECTORY
from tests.e2e.fake_vllm.gpu_memory import NoMemoryError, hold, shares, starting

KEY = {"Authorization": "Bearer sk-engine"}
Start = Callable[..., subprocess.Popen[str]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts engines whose files lie as in the image."""
    package = tmp_path / "opt" / "fake_vllm"
    package.mkdir(parents=True)
    for name in ("server.py", "gpu_memory.py", "nodes.py"):
        shutil.copy(DIRECTORY / name, package)
    with ExitStack() as stack:

        def begin(share: float, *arguments: str, **environment: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "fake_vllm.server", "org/model"),
                    *("--served-model-name", "coder", "--gpu-memory-utilization", str(share)),
                    *("--max-model-len", "4096", *arguments),
                ],
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": str(tmp_path / "opt"),
                    "FAKE_GPUS": str(tmp_path / "gpus"),
                    "FAKE_VLLM_START_SECONDS": "0",
                    "NVIDIA_VISIBLE_DEVICES": "0",
                    "VLLM_API_KEY": "sk-engine",
                }
                | environment,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield begin


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if text in line:
            return
    raise AssertionError("".join(seen))


def test_shares_add_up_to_a_whole_card(tmp_path: Path) -> None:
    card = tmp_path / "0"
    with hold([card], 0.1), starting([card]):
        assert list(shares(card).values()) == [0.1]
    assert shares(card) == {}
    with hold([tmp_path / "0", tmp_path / "1"], 1):
        assert list(shares(tmp_path / "1").values()) == [1]


def test_two_engines_do_not_start_on_one_card_at_once(tmp_path: Path) -> None:
    with starting([tmp_path / "0"]):
        with starting([tmp_path / "1"]):
            pass
        with pytest.raises(NoMemoryError, match="memory profiling"), starting([tmp_path / "0"]):
            pass


def test_an_engine_starts_when_the_other_has_ended_however_it_did(
    start: Start, tmp_path: Path
) -> None:
    ends = [signal.SIGTERM, signal.SIGKILL]
    for end in ends:
        first = start(0.75, "--port", str(free_port()))
        wait_for(first, "startup complete")
        second = start(0.3)
        assert second.wait() == 1
        assert second.stderr is not None
        assert (
            "Free memory on device cuda:0 (11.10/44.40 GiB) on startup is less than desired GPU "
            "memory utilization (0.3, 13.32 GiB)"
        ) in second.stderr.read()
        beside = start(0.25, "--port", str(free_port()))
        wait_for(beside, "startup complete")
        for process in (first, beside):
            process.send_signal(end)
            process.wait()
    assert shares(tmp_path / "gpus" / "0") == {}


def test_it_does_not_start_without_its_gpus(start: Start) -> None:
    process = start(0.9, "--tensor-parallel-size", "2")
    assert process.wait() == 1
    assert process.stderr is not None
    assert "World size (2) is larger" in process.stderr.read()


def test_it_speaks_as_vllm_does(start: Start) -> None:
    port = free_port()
    wait_for(start(0.9, "--port", str(port)), "startup complete")
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        assert client.get("/health").status_code == 200
        assert client.get("/v1/models").status_code == 401
        names = [row["id"] for row in client.get("/v1/models", headers=KEY).json()["data"]]
        assert names == ["coder"]

        def ask(path: str, **body: Any) -> httpx.Response:
            return client.post(path, headers=KEY, json={"model": "coder"} | body)

        whole = ask("/v1/completions", prompt="def fib(n):", max_tokens=3).json()
        assert whole["choices"][0]["text"] == "    if n <"
        assert whole["choices"][0]["finish_reason"] == "length"
        chat = ask("/v1/chat/completions", messages=[{"role": "user", "content": "x"}]).json()
        assert chat["choices"][0]["message"]["content"].startswith("    if n < 2:")
        streamed = ask("/v1/completions", prompt="x", stream=True).text.split("\n\n")
        assert streamed[-2:] == ["data: [DONE]", ""]
        assert '"text": "    if"' in streamed[0]
        assert ask("/v1/completions", model="other").status_code == 404


# several hosts


def on_host(start: Start, rank: int, port: int, master: int, **changes: str) -> Any:
    """One of two, on a CPU."""
    listening = ("--headless",) if rank else ("--host", "127.0.0.1", "--port", str(port))
    return start(
        0.9,
        *listening,
        *("--pipeline-parallel-size", "2", "--nnodes", "2", "--node-rank", str(rank)),
        *("--master-addr", "127.0.0.1", "--master-port", str(master)),
        *(part for flag, value in changes.items() for part in (f"--{flag}", value)),
        VLLM_CPU_KVCACHE_SPACE="1",
        FAKE_VLLM_ANY_WEIGHTS="1",
    )


def test_hosts_wait_for_each_other(start: Start) -> None:
    port, master = free_port(), free_port()
    second = on_host(start, 1, port, master)
    wait_for(second, "rank 1 waits for 2 in all")
    first = on_host(start, 0, port, master)
    wait_for(first, "startup complete")
    assert httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200
    second.kill()
    second.wait()
    # as with vLLM, the first one does not notice
    assert httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200


def test_hosts_that_were_told_different_things_do_not_work_together(start: Start) -> None:
    port, master = free_port(), free_port()
    on_host(start, 1, port, master, **{"max-model-len": "1024"})
    first = on_host(start, 0, port, master)
    wait_for(first, "rank 1 has 'coder 1024', and rank 0 'coder 4096'")
    assert first.wait(10) == 1


def test_the_first_one_goes_before_all_are_there(start: Start) -> None:
    """The one that waits for it does not wait for ever."""
    port, master = free_port(), free_port()
    with socket.create_server(("127.0.0.1", master)) as listening:
        second = on_host(start, 1, port, master)
        met, _ = listening.accept()
        met.close()
        assert second.wait(10) == 1
