"""What llama.cpp is started with on GPUs, given to its own parser and served with on a CPU.

The image is built here, without a backend for GPUs: of the flags, the devices are replaced.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.catalog import load_catalog
from deploy.catalog.entry import DIRECTORY
from deploy.images import build_images, make_build_plan
from deploy.services import Tier
from tests.e2e.names import CHECKOUT
from tests.services.test_llama_cpp_on_gpus import made

MODELS = DIRECTORY / "models"
CONTAINER = f"e2e-flags-{CHECKOUT}"
KEY = "sk-only-here"
SECONDS = 60


@pytest.fixture(scope="module")
def image() -> str:
    plan = make_build_plan("llama-cpp", load_catalog())
    build_images([plan], report=lambda _line: None)
    return plan.tag


@pytest.fixture(autouse=True)
def _removed() -> Iterator[None]:
    yield
    subprocess.run(["docker", "rm", "--force", CONTAINER], capture_output=True)


def command(directory: Path, gpus: str, **settings: Any) -> list[str]:
    """What a container on GPUs is started with, with a CPU in the place of its devices."""
    artefacts = made(directory, gpus, **settings)
    said = list(artefacts.stack.tier(Tier.ENGINE)[0].container.command)
    said[said.index("--device") + 1] = "none"
    return said


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True)


def start(image: str, arguments: list[str]) -> None:
    """The tiny model stands for whatever is declared, and for its draft."""
    options = ("--detach", "--name", CONTAINER, "--env", f"LLAMA_API_KEY={KEY}")
    mounted = ("--volume", f"{MODELS}:/models:ro", "--volume", f"{MODELS}:/draft:ro")
    started = docker("run", *options, *mounted, image, *arguments)
    assert started.returncode == 0, started.stderr


def asked(path: str) -> dict[str, Any]:
    """What it answers, as soon as it does."""
    ask = ("curl", "-sf", "-H", f"Authorization: Bearer {KEY}", f"http://127.0.0.1:8080{path}")
    for _ in range(SECONDS):
        found = docker("exec", CONTAINER, *ask)
        if found.returncode == 0:
            answer: dict[str, Any] = json.loads(found.stdout)
            return answer
        if docker("inspect", "--format", "{{.State.Running}}", CONTAINER).stdout != "true\n":
            break
        time.sleep(1)
    pytest.fail(docker("logs", CONTAINER).stderr[-2000:])


def drafted(prompt: str) -> int:
    """Tokens that were drafted for one answer, as it says itself; 0 of none."""
    body = json.dumps({"prompt": prompt, "n_predict": 64, "temperature": 0})
    key = f"Authorization: Bearer {KEY}"
    url = "http://127.0.0.1:8080/completion"
    answer = docker("exec", CONTAINER, "curl", "-sf", "-H", key, url, "-d", body)
    return int(json.loads(answer.stdout)["timings"].get("draft_n", 0))


def test_what_is_said_for_one_card_is_what_it_serves_with(image: str, tmp_path: Path) -> None:
    own = {"kv_cache_dtype": "q8_0", "max_num_seqs": 2}
    start(image, command(tmp_path, "1x l40s", engine=own, model={"max_model_len": 512}))
    props = asked("/props")
    assert props["total_slots"] == 2
    assert props["default_generation_settings"]["n_ctx"] == 512
    assert props["model_alias"] == "own"


@pytest.mark.parametrize(
    ("gpus", "own"),
    [
        ("2x l40s", {"tensor_split": [3, 1], "kv_cache_dtype": "q4_0"}),
        ("2x l40s", {"tensor_split": [1, 1], "split_mode": "row", "flash_attn": "off"}),
        ("1x rx-7900-xtx", {"backend": "vulkan", "kv_cache_dtype": "f16"}),
    ],
)
def test_splits_and_caches_are_parsed(
    image: str, tmp_path: Path, gpus: str, own: dict[str, Any]
) -> None:
    start(image, command(tmp_path, gpus, engine=own, model={"max_model_len": 512}))
    assert asked("/props")["default_generation_settings"]["n_ctx"] == 512


def test_a_draft_is_loaded_and_drafts(image: str, tmp_path: Path) -> None:
    path = str(MODELS / "tiny-coder-q8_0.gguf")
    drafts = {"method": "draft_model", "num_speculative_tokens": 4, "draft": "config.json"}
    model = {"max_model_len": 512, "speculative": {**drafts, "path": path}}
    start(image, command(tmp_path, "1x l40s", model=model))
    asked("/props")
    assert drafted("def fibonacci(n):") > 0


def test_the_prompt_drafts(image: str, tmp_path: Path) -> None:
    drafts = {"method": "ngram", "num_speculative_tokens": 8}
    model = {"max_model_len": 512, "speculative": drafts}
    verbose = {"extra_args": ["--log-verbosity", "4"]}
    start(image, command(tmp_path, "1x l40s", engine=verbose, model=model))
    asked("/props")
    logged = docker("logs", CONTAINER)
    assert "speculative implementation 'ngram-simple'" in logged.stdout + logged.stderr


def test_a_card_that_is_not_there_stops_it(image: str, tmp_path: Path) -> None:
    """It does not serve on the CPU in its place."""
    artefacts = made(tmp_path, "1x l40s")
    said = artefacts.stack.tier(Tier.ENGINE)[0].container.command
    finished = docker("run", "--name", CONTAINER, "--volume", f"{MODELS}:/models:ro", image, *said)
    assert finished.returncode != 0
    assert "invalid device: CUDA0" in finished.stdout + finished.stderr
