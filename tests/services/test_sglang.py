"""SGLang's containers on GPUs: what it is told, checked against a record of its own parser."""

import argparse
import json
import logging
import logging.config
import os
import subprocess
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from deploy import Deployment
from deploy.artefacts import Artefacts, make_artefacts
from deploy.catalog import load_catalog
from deploy.errors import PlanError
from deploy.render import TEMPLATES
from deploy.services import ContainerSpec, Tier
from deploy.services.compiled import is_cache
from deploy.services.engines import container_port
from deploy.services.sglang_arguments import REASONING_PARSERS, TOOL_CALL_PARSERS
from deploy.sizing.sglang import VERSION
from deploy.spec import SecretText
from tests.golden import assert_golden
from tests.services.profiles import GOLDEN, digest, rendered
from tests.services.sglang_options import recorded_parser, recorded_version

CODER = {"name": "qwen2.5-coder-7b"}
START = TEMPLATES / "sglang" / "start.sh"
KEY = "sk-it's\"a key"


def made(directory: Path, **settings: Any) -> Artefacts:
    defaults = {
        "name": "lab",
        "hosts": [{"name": "gpu1", "gpus": "2x l40s"}],
        "engine": {"kind": "sglang"},
        "models": [CODER],
    }
    return make_artefacts(Deployment(**{**defaults, **settings}), directory)


def container(artefacts: Artefacts) -> ContainerSpec:
    return artefacts.stack.tier(Tier.ENGINE)[0].container


def parsed(found: ContainerSpec) -> argparse.Namespace:
    """The arguments, as SGLang's own parser takes them: it refuses what it does not know."""
    program, model, *arguments = found.command
    assert program == "/etc/atelier/start.sh"
    # upstream's command takes these two away before it parses the others
    at = arguments.index("--model-type")
    assert arguments[at : at + 2] == ["--model-type", "llm"]
    del arguments[at : at + 2]
    return recorded_parser().parse_args(["--model-path", model, *arguments])


def told_router(artefacts: Artefacts) -> list[dict[str, Any]]:
    router = artefacts.stack.tier(Tier.ROUTER)[0]
    assert router.config is not None
    config = yaml.safe_load(str(router.config.files["config.yaml"].content))
    rows: list[dict[str, Any]] = config["model_list"]
    return rows


def test_the_images_are_of_the_release_whose_options_are_recorded() -> None:
    images = load_catalog().images
    for name in ("sglang", "sglang-rocm", "sglang-rocm-mi35x"):
        tag = images[name].reference.rpartition(":")[2]
        assert tag.split("-")[0] == f"v{VERSION}" == f"v{recorded_version()}"
        assert images[name].licence == "Apache-2.0"


def test_the_record_refuses_what_sglang_does_not_know() -> None:
    for wrong in (["--tool-call-parser", "llama3_json"], ["--max-num-seqs", "2"], ["--dtype"]):
        with pytest.raises((argparse.ArgumentError, SystemExit)):
            recorded_parser().parse_args(["--model-path", "a/b", *wrong])


def test_what_was_planned_is_said(tmp_path: Path) -> None:
    models = [{**CODER, "served_model_name": "coder", "max_model_len": 16384, "replicas": 1}]
    engine = {"kind": "sglang", "tensor_parallel_size": 2, "max_num_seqs": 64}
    artefacts = made(tmp_path, engine=engine, models=models)
    found, (replica,) = container(artefacts), artefacts.plan.replicas
    said = parsed(found)
    assert (said.model_path, said.served_model_name) == ("Qwen/Qwen2.5-Coder-7B-Instruct", "coder")
    assert (said.host, said.port) == ("0.0.0.0", container_port(replica))  # noqa: S104
    assert (said.tp_size, said.pp_size) == (2, 1)
    assert (said.context_length, said.max_running_requests) == (16384, 64)
    assert said.max_total_tokens == replica.kv_cache_tokens > 16384
    # upstream's own defaults for a card of this size
    assert (said.chunked_prefill_size, said.cuda_graph_max_bs_decode) == (4096, 32)
    assert (said.kv_cache_dtype, said.dtype) == ("auto", "auto")
    assert said.tool_call_parser == "hermes"
    assert said.enable_metrics
    assert said.sleep_on_idle
    assert said.quantization is said.revision is said.watchdog_timeout is None
    assert not any((said.enable_priority_scheduling, said.trust_remote_code, said.log_requests))


def test_weights_and_kv_cache_are_within_the_share_that_is_told(tmp_path: Path) -> None:
    (replica,) = made(tmp_path, models=[{**CODER, "gpus": 0.8}]).plan.replicas
    assert replica.memory
    assert replica.sglang
    static = replica.memory.weights_gib + replica.memory.kv_cache_gib
    card = 44.4
    assert replica.memory.total_gib == pytest.approx(0.8 * card, rel=0.02)
    # of what is free where others have the rest of the card, this much and a little more
    free = 0.8 * card - 0.6
    assert static <= replica.sglang.mem_fraction_static * free * 1.02 <= static * 1.05


def test_beside_another_engine_on_one_card(tmp_path: Path) -> None:
    hosts = [{"name": "gpu1", "gpus": "1x h100"}]
    models = [CODER, {"name": "qwen2.5-coder-1.5b-base", "engine": {"kind": "vllm"}}]
    artefacts = made(tmp_path, hosts=hosts, models=models)
    shares = {unit.name: unit.gpu_shares[0] for unit in artefacts.stack.tier(Tier.ENGINE)}
    assert len(shares) == 2
    assert sum(shares.values()) == pytest.approx(0.9)
    sglang = next(r for r in artefacts.plan.replicas if r.engine.kind == "sglang")
    said = parsed(container(artefacts))
    # where the other one does not run yet, no more is free to it than was planned
    assert said.max_total_tokens == sglang.kv_cache_tokens
    assert sglang.memory
    card = artefacts.plan.hosts[0].usable_gib[0]
    assert sglang.memory.total_gib <= shares["lab-sglang-qwen2.5-coder-7b-0"] * card + 0.01


def test_what_is_declared_is_said(tmp_path: Path) -> None:
    engine = {
        "kind": "sglang",
        "tensor_parallel_size": 2,
        "enforce_eager": True,
        "enable_expert_parallel": True,
        "kv_cache_dtype": "fp8",
        "dtype": "bfloat16",
        "scheduling_policy": "priority",
        "hang_seconds": 60,
        "max_num_batched_tokens": 2048,
        "extra_args": ["--trust-remote-code"],
    }
    hosts = [{"name": "gpu1", "gpus": "2x h100"}]
    models = [{"name": "qwen3-30b-a3b", "reasoning_parser": "qwen3", "quantization": "fp8"}]
    said = parsed(container(made(tmp_path, hosts=hosts, engine=engine, models=models)))
    assert said.cuda_graph_backend_decode == said.cuda_graph_backend_prefill == "disabled"
    assert said.cuda_graph_max_bs_decode is None
    assert (said.ep_size, said.kv_cache_dtype, said.dtype) == (2, "fp8_e4m3", "bfloat16")
    assert said.enable_priority_scheduling
    # as the routers' hook counts: lower ones go first
    assert said.schedule_low_priority_values_first
    assert (said.watchdog_timeout, said.chunked_prefill_size) == (60.0, 2048)
    assert said.reasoning_parser == "qwen3"
    assert said.trust_remote_code


def test_no_graph_is_larger_than_a_step(tmp_path: Path) -> None:
    hosts = [{"name": "gpu1", "gpus": "1x h200"}]
    for requests, graphed in ((64, 64), (1024, 256)):
        models = [{**CODER, "max_num_seqs": requests}]
        said = parsed(container(made(tmp_path, hosts=hosts, models=models)))
        assert (said.max_running_requests, said.cuda_graph_max_bs_decode) == (requests, graphed)


def test_one_that_may_stand_still_for_ever(tmp_path: Path) -> None:
    said = parsed(container(made(tmp_path, engine={"kind": "sglang", "hang_seconds": 0})))
    assert said.watchdog_timeout > 300 * 24 * 3600


def test_every_parser_of_the_catalogue_has_its_name_there(tmp_path: Path) -> None:
    parser = recorded_parser()
    for model in load_catalog().models.values():
        names = (
            ("--tool-call-parser", model.tool_call_parser, TOOL_CALL_PARSERS),
            ("--reasoning-parser", model.reasoning_parser, REASONING_PARSERS),
        )
        for flag, name, others in names:
            if name and others.get(name, name):
                parser.parse_args(["--model-path", "a/b", flag, others.get(name, name)])
    # it has none for this one: the flag is left out
    hosts = [{"name": "gpu1", "gpus": "2x h100"}]
    said = parsed(container(made(tmp_path, hosts=hosts, models=[{"name": "seed-oss-36b"}])))
    assert said.tool_call_parser is said.reasoning_parser is None


def test_quantised_weights_are_not_said_again(tmp_path: Path) -> None:
    awq = parsed(container(made(tmp_path, models=[{**CODER, "quantization": "awq"}])))
    assert (awq.model_path[-4:], awq.quantization) == ("-AWQ", None)
    fp8 = parsed(container(made(tmp_path, models=[{**CODER, "quantization": "fp8"}])))
    assert fp8.quantization == "fp8"


def test_the_key_is_nowhere_but_in_the_environment(tmp_path: Path) -> None:
    artefacts = made(tmp_path)
    unit = artefacts.stack.tier(Tier.ENGINE)[0]
    assert unit.container.secret_env == {"ATELIER_ENGINE_KEY": SecretText.of("engine_api_key")}
    assert unit.config is not None
    assert not any(file.is_secret for file in unit.config.files.values())
    [row] = told_router(artefacts)[:1]
    assert row["litellm_params"]["api_key"]


def run_start(tmp_path: Path, key: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Runs start.sh with a program in SGLang's place that keeps what it is given."""
    programs, seen = tmp_path / "bin", tmp_path / "seen"
    programs.mkdir()
    seen.mkdir()
    program = programs / "sglang"
    program.write_text(
        '#!/bin/sh\nprintf "%s\\n" "$@" >"$SEEN/arguments"\nenv >"$SEEN/environment"\n'
        'while [ $# -gt 1 ]; do shift; done\ncp -p "$1" "$SEEN/settings.yaml"\n'
    )
    program.chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    environment = {"PATH": path, "SEEN": str(seen), "TMPDIR": str(tmp_path)}
    command = ["sh", str(START), "org/model", "--port", "30000"]
    environment["ATELIER_ENGINE_KEY"] = key
    return subprocess.run(command, env=environment, capture_output=True, text=True), seen


def test_the_key_comes_in_a_file_that_root_alone_reads(tmp_path: Path) -> None:
    done, seen = run_start(tmp_path, KEY)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    *arguments, flag, settings = (seen / "arguments").read_text().splitlines()
    assert arguments == ["serve", "org/model", "--port", "30000"]
    # upstream reads a file only with such a name
    assert (flag, Path(settings).suffix) == ("--config", ".yaml")
    assert Path(settings).stat().st_mode & 0o777 == 0o600
    assert Path(settings).parent.stat().st_mode & 0o777 == 0o700
    assert yaml.safe_load((seen / "settings.yaml").read_text()) == {"api-key": KEY}
    assert KEY not in (seen / "environment").read_text() + (seen / "arguments").read_text()
    recorded_parser().parse_args(["--model-path", "a/b", "--config", settings, "--api-key", KEY])


def test_a_key_that_looks_like_an_argument_is_refused(tmp_path: Path) -> None:
    done, seen = run_start(tmp_path, "-secret")
    assert done.returncode == 64
    assert "choose another one" in done.stderr
    assert "-secret" not in done.stderr
    assert not list(seen.iterdir())


def test_the_line_with_its_whole_configuration_is_left_out_of_the_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    artefacts = made(tmp_path)
    unit = artefacts.stack.tier(Tier.ENGINE)[0]
    named = PurePosixPath(str(unit.container.env["SGLANG_LOGGING_CONFIG_PATH"]))
    assert unit.config is not None
    assert unit.container.mounts[named.parent].source == str(unit.config.directory)
    before = logging.root.handlers[:], logging.root.level
    try:
        logging.config.dictConfig(json.loads(str(unit.config.files[named.name].content)))
        logging.getLogger("sglang.srt.entrypoints.engine").info("server_args={'api_key': ...}")
        logging.getLogger("sglang.srt.entrypoints.engine").error("a failure")
        logging.getLogger("sglang.srt.managers.scheduler").info("max_total_num_tokens=5")
    finally:
        logging.root.handlers[:], logging.root.level = before
    _, said = capfd.readouterr()
    assert "api_key" not in said
    assert "a failure" in said
    assert "max_total_num_tokens=5" in said


def test_its_health_is_asked_with_patience(tmp_path: Path) -> None:
    check = container(made(tmp_path)).healthcheck
    assert "http://127.0.0.1:30000/health" in check.command
    assert "-m 22 " in check.command
    assert check.timeout_seconds > 22


def test_nvidia_gpus(tmp_path: Path) -> None:
    artefacts = made(tmp_path, models=[{**CODER, "gpus": 2, "replicas": 1}])
    unit = artefacts.stack.tier(Tier.ENGINE)[0]
    created = unit.create_arguments("lab", digest)
    assert created[created.index("--shm-size") + 1] == str(8 * 1024**3)
    assert created[created.index("--gpus") + 1].startswith('"device=')
    assert unit.container.ulimits == {"core": 0, "memlock": -1, "stack": 67108864}
    assert unit.image_name == "sglang"
    assert set(unit.gpu_shares.values()) == {0.9}


@pytest.mark.parametrize(
    ("gpu", "image"), [("mi300x", "sglang-rocm"), ("mi355x", "sglang-rocm-mi35x")]
)
def test_amd_gpus_by_their_own_images(tmp_path: Path, gpu: str, image: str) -> None:
    hosts = [{"name": "gpu1", "gpus": gpu, "gpu_groups": [44, 992]}]
    found = made(tmp_path, hosts=hosts).stack.tier(Tier.ENGINE)[0]
    assert found.image_name == image
    assert found.container.image == load_catalog().images[image].reference
    assert found.container.devices == ("/dev/kfd", "/dev/dri")
    assert found.container.group_add == (44, 992)
    assert found.container.env["HIP_VISIBLE_DEVICES"] == "0"
    assert "seccomp=unconfined" in found.container.security_opt


def test_weights_of_the_shared_cache(tmp_path: Path) -> None:
    unit = made(tmp_path, huggingface_endpoint="https://hub.lab/").stack.tier(Tier.ENGINE)[0]
    [weights] = unit.weights
    assert (weights.name, weights.endpoint) == (
        "Qwen/Qwen2.5-Coder-7B-Instruct@main",
        "https://hub.lab",
    )
    assert weights.image == unit.container.image
    assert unit.container.env["HF_HUB_OFFLINE"] == unit.container.env["TRANSFORMERS_OFFLINE"] == "1"
    mount = next(m for at, m in unit.container.mounts.items() if at.name == "hub")
    assert (mount.source, mount.read_only) == (f"{weights.cache}/hub", True)


def test_weights_in_a_directory_without_a_network(tmp_path: Path) -> None:
    own = {"kind": "sglang", "offline": True, "huggingface_cache": "/srv/huggingface"}
    unit = made(
        tmp_path, engine=own, models=[{**CODER, "weights": "/srv/models/coder"}]
    ).stack.tier(Tier.ENGINE)[0]
    found = unit.container
    assert parsed(found).model_path == "/models/qwen2.5-coder-7b"
    assert (unit.weights, found.env["HF_HUB_OFFLINE"]) == ((), "1")
    mounts = {str(path): (m.source, m.read_only) for path, m in found.mounts.items()}
    assert mounts["/models/qwen2.5-coder-7b"] == ("/srv/models/coder", True)
    assert mounts["/root/.cache/huggingface"] == ("/srv/huggingface", False)


def test_what_it_compiles_is_kept_and_known(tmp_path: Path) -> None:
    found = container(made(tmp_path))
    cache = PurePosixPath(str(found.env["SGLANG_CACHE_DIR"]))
    volume = found.mounts[cache]
    assert (volume.kind, is_cache(volume.source, "lab")) == ("volume", True)
    assert not is_cache("lab-huggingface", "lab")


def test_routers_know_it_as_vllm(tmp_path: Path) -> None:
    hosts = [{"name": "10.0.0.1"}, {"name": "gpu1", "address": "10.0.0.2", "gpus": "2x l40s"}]
    artefacts = made(tmp_path, hosts=hosts, models=[{**CODER, "replicas": 2}])
    assert [
        (row["litellm_params"]["model"], row["litellm_params"]["api_base"])
        for row in told_router(artefacts)
    ] == [
        (
            "hosted_vllm/qwen2.5-coder-7b",
            f"http://lab-listener-client-0:8080/lab-sglang-qwen2.5-coder-7b-{index}/v1",
        )
        for index in (0, 1)
    ]
    # through a link, and at no port of its host
    assert all(not unit.container.ports for unit in artefacts.stack.tier(Tier.ENGINE))
    links = {unit.host for unit in artefacts.stack.units if "link-server" in unit.name}
    assert links == {"gpu1"}


@pytest.mark.golden
def test_containers_and_files_are_as_written(tmp_path: Path) -> None:
    hosts = [
        {"name": "10.0.0.1"},
        {"name": "gpu1", "address": "10.0.0.2", "gpus": "2x h100"},
        {"name": "gpu2", "address": "10.0.0.3", "gpus": "1x mi300x", "gpu_groups": [44, 992]},
    ]
    models = [
        {"name": "qwen3-coder-30b-a3b", "engine": {"kind": "sglang", "tensor_parallel_size": 2}},
        {**CODER, "replicas": 1, "quantization": "fp8", "max_model_len": 32768},
    ]
    found = rendered(made(tmp_path, hosts=hosts, models=models))
    engines = {name: each for name, each in found.items() if "-sglang-" in name}
    assert len(engines) == 2
    assert_golden(GOLDEN / "sglang.json", json.dumps(engines, indent=1) + "\n")


def test_it_is_not_built(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"images.sglang: image_source is 'build'"):
        made(tmp_path, image_source="build")


def test_kernels_of_nvfp4_before_blackwell(tmp_path: Path) -> None:
    models = [{"name": "glm-4.7", "quantization": "nvfp4"}]
    for gpus, backend in (("8x h100", "marlin"), ("4x b200", None)):
        hosts = [{"name": "gpu1", "gpus": gpus}]
        said = parsed(container(made(tmp_path, hosts=hosts, models=models)))
        assert (said.fp4_gemm_backend, said.moe_runner_backend) == (backend, None)


@pytest.mark.parametrize(
    ("gpus", "name", "tools", "thoughts"),
    [
        ("1x h100", "gpt-oss-20b", "gpt-oss", None),
        ("2x h100", "gpt-oss-120b", "gpt-oss", None),
        ("2x h100", "qwen3-coder-30b-a3b", "qwen3_coder", None),
        ("8x h200", "deepseek-v3.2", "deepseekv32", "deepseek-v3"),
        ("8x b200", "glm-4.7", "glm47", "glm45"),
        ("8x h200", "minimax-m2.5", "minimax-m2", "minimax"),
    ],
)
def test_mixtures_of_experts(
    tmp_path: Path, gpus: str, name: str, tools: str, thoughts: str | None
) -> None:
    hosts = [{"name": "gpu1", "gpus": gpus}]
    artefacts = made(tmp_path, hosts=hosts, models=[{"name": name, "replicas": 1}])
    said, (replica,) = parsed(container(artefacts)), artefacts.plan.replicas
    assert (said.tool_call_parser, said.reasoning_parser) == (tools, thoughts)
    assert said.max_total_tokens == replica.kv_cache_tokens > said.context_length
    # what upstream works out itself stays so
    assert said.ep_size is said.moe_runner_backend is said.swa_full_tokens_ratio is None


@pytest.mark.parametrize("flag", ["--swa-full-tokens-ratio", "--moe-a2a-backend"])
def test_what_would_undo_the_plan_of_experts_is_refused(tmp_path: Path, flag: str) -> None:
    with pytest.raises(PlanError, match=rf"(?s){flag}.*remove it"):
        made(tmp_path, engine={"kind": "sglang", "extra_args": [flag, "1"]})


def test_slots_for_states(tmp_path: Path) -> None:
    hosts = [{"name": "gpu1", "gpus": "4x h100"}]
    models = [{"name": "qwen3-coder-next", "max_num_seqs": 24, "replicas": 1}]
    engine = {"kind": "sglang", "tensor_parallel_size": 4}
    said = parsed(container(made(tmp_path, hosts=hosts, engine=engine, models=models)))
    assert (said.max_running_requests, said.max_mamba_cache_size) == (24, 120)
    assert parsed(container(made(tmp_path))).max_mamba_cache_size is None
    # as many as there are slots for, where nothing is declared
    models = [{"name": "qwen3-coder-next", "replicas": 1}]
    said = parsed(container(made(tmp_path, hosts=hosts, engine=engine, models=models)))
    assert said.max_mamba_cache_size == 5 * said.max_running_requests
