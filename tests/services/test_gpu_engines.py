"""Containers of engines on GPUs, and what the router is told about them."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import Deployment
from deploy.artefacts import Artefacts, make_artefacts
from deploy.catalog import load_catalog
from deploy.errors import PlanError
from deploy.services import ContainerSpec, Tier
from deploy.services.container import HARDWARE, NO_DUMPS
from deploy.services.hang_watch import hang_seconds
from deploy.services.weights import distinct_weights
from deploy.sizing.release import DEFAULT_VERSION
from deploy.units import GIB
from tests.services.profiles import digest

ANYWHERE = "0.0.0.0"  # noqa: S104 - inside the container
CHAT = {"name": "qwen2.5-coder-7b"}
ON_CPU = {"kind": "llama_cpp", "n_gpu_layers": 0}


def made(directory: Path, **settings: Any) -> Artefacts:
    defaults = {
        "name": "lab",
        "hosts": [{"name": "gpu1", "gpus": "2x l40s"}],
        "engine": {"kind": "vllm"},
        "models": [CHAT],
    }
    return make_artefacts(Deployment(**{**defaults, **settings}), directory)


def engine(artefacts: Artefacts) -> ContainerSpec:
    return artefacts.stack.tier(Tier.ENGINE)[0].container


def create_arguments(artefacts: Artefacts, index: int = 0) -> list[str]:
    return artefacts.stack.tier(Tier.ENGINE)[index].create_arguments("lab", digest)


def arguments(artefacts: Artefacts) -> str:
    return " ".join(create_arguments(artefacts))


def upstreams(artefacts: Artefacts) -> list[dict[str, Any]]:
    (router,) = artefacts.stack.tier(Tier.ROUTER)
    assert router.config is not None
    config = yaml.safe_load(str(router.config.files["config.yaml"].content))
    return [entry["litellm_params"] for entry in config["model_list"]]


def test_nvidia_gpus_by_index(tmp_path: Path) -> None:
    found = create_arguments(made(tmp_path))
    assert found[found.index("--gpus") + 1] == '"device=0,1"'
    assert found[found.index("--shm-size") + 1] == str(8 * 1024**3)


def test_nvidia_gpus_by_cdi(tmp_path: Path) -> None:
    hosts = [{"name": "gpu1", "gpus": "2x l40s", "gpu_runtime": "cdi"}]
    found = arguments(made(tmp_path, hosts=hosts))
    assert "--device nvidia.com/gpu=0 --device nvidia.com/gpu=1" in found
    assert "--gpus" not in found


def test_amd_gpus_by_device_and_group(tmp_path: Path) -> None:
    hosts = [{"name": "gpu1", "gpus": "2x mi300x", "gpu_groups": [44, 992]}]
    artefacts = made(tmp_path, hosts=hosts, models=[{**CHAT, "replicas": 2}])
    second = artefacts.stack.tier(Tier.ENGINE)[1].container
    assert second.devices == ("/dev/kfd", "/dev/dri")
    assert second.group_add == (44, 992)
    assert second.env["HIP_VISIBLE_DEVICES"] == "1"
    assert "vllm-openai-rocm" in second.image
    created = " ".join(create_arguments(artefacts, 1))
    assert "--group-add 44 --group-add 992" in created
    # as vLLM's documentation starts it: docs/getting_started/installation/gpu.rocm.inc.md
    assert "--cap-add SYS_PTRACE" in created
    assert "--security-opt seccomp=unconfined" in created
    assert "--security-opt no-new-privileges" in created


def test_the_hosts_shared_memory(tmp_path: Path) -> None:
    found = arguments(made(tmp_path, engine={"kind": "vllm", "ipc": "host"}))
    assert "--ipc host" in found
    assert "--shm-size" not in found


def served(container: ContainerSpec) -> tuple[str, ...]:
    """The arguments of ``vllm serve``."""
    at = container.command.index("vllm")
    assert container.command[at : at + 2] == ("vllm", "serve")
    return container.command[at + 2 :]


def test_arguments_of_vllm(tmp_path: Path) -> None:
    own = {
        "kind": "vllm",
        "tensor_parallel_size": 2,
        "kv_cache_dtype": "fp8",
        "max_num_batched_tokens": 4096,
        "extra_args": ["--enable-prefix-caching"],
    }
    models = [{**CHAT, "served_model_name": "coder", "max_model_len": 16384, "max_num_seqs": 64}]
    artefacts = made(tmp_path, engine=own, models=models)
    (replica,) = artefacts.plan.replicas
    assert replica.memory is not None
    pinned = replica.memory.pinned_kv_cache_bytes
    assert replica.memory.kv_cache_gib * GIB - 64 * 2**20 < pinned
    assert served(engine(artefacts)) == (
        "Qwen/Qwen2.5-Coder-7B-Instruct",
        *("--served-model-name", "coder", "--host", ANYWHERE, "--port", "8000"),
        *("--tensor-parallel-size", "2", "--pipeline-parallel-size", "1"),
        *("--gpu-memory-utilization", "0.9", "--max-model-len", "16384", "--max-num-seqs", "64"),
        *("--kv-cache-dtype", "fp8", "--dtype", "auto", "--max-num-batched-tokens", "4096"),
        *("--kv-cache-memory-bytes", str(pinned)),
        *("--enable-auto-tool-choice", "--tool-call-parser", "hermes"),
        "--enable-prefix-caching",
    )


def test_quantisation_is_said_only_where_vllm_does_it(tmp_path: Path) -> None:
    awq = served(engine(made(tmp_path, models=[{**CHAT, "quantization": "awq"}])))
    assert awq[0].endswith("-AWQ")
    assert "--quantization" not in awq
    fp8 = engine(made(tmp_path, models=[{**CHAT, "quantization": "fp8"}])).command
    assert fp8[fp8.index("--quantization") + 1] == "fp8"


def test_weights_in_a_directory_without_a_network(tmp_path: Path) -> None:
    own = {"kind": "vllm", "offline": True, "huggingface_cache": "/srv/huggingface"}
    models = [{**CHAT, "weights": "/srv/models/coder"}]
    container = engine(made(tmp_path, engine=own, models=models))
    assert served(container)[0] == "/models/qwen2.5-coder-7b"
    assert container.env["HF_HUB_OFFLINE"] == container.env["TRANSFORMERS_OFFLINE"] == "1"
    mounts = {str(path): (m.kind, m.source, m.read_only) for path, m in container.mounts.items()}
    assert mounts["/models/qwen2.5-coder-7b"] == ("bind", "/srv/models/coder", True)
    assert mounts["/root/.cache/huggingface"] == ("bind", "/srv/huggingface", False)


def test_weights_are_there_before_the_engine_starts(tmp_path: Path) -> None:
    artefacts = made(tmp_path, huggingface_endpoint="https://hub.lab/")
    unit = artefacts.stack.tier(Tier.ENGINE)[0]
    [weights] = unit.weights
    assert (weights.name, weights.endpoint, weights.source) == (
        *("Qwen/Qwen2.5-Coder-7B-Instruct@main", "https://hub.lab"),
        "download",
    )
    assert weights.image == unit.container.image
    assert unit.container.env["HF_HUB_OFFLINE"] == unit.container.env["TRANSFORMERS_OFFLINE"] == "1"
    mount = next(m for at, m in unit.container.mounts.items() if at.name == "hub")
    assert (mount.source, mount.read_only) == ("/var/lib/atelier/models/huggingface/hub", True)
    assert f"{weights.cache}/hub" == mount.source


def test_a_cache_of_the_operators_own(tmp_path: Path) -> None:
    own = {"kind": "vllm", "huggingface_cache": "/nfs/huggingface"}
    unit = made(tmp_path, engine=own).stack.tier(Tier.ENGINE)[0]
    assert str(unit.weights[0].cache) == "/nfs/huggingface"
    assert "/nfs/huggingface/hub" in {mount.source for mount in unit.container.mounts.values()}


def test_weights_that_are_the_operators_are_not_brought(tmp_path: Path) -> None:
    offline = made(tmp_path, engine={"kind": "vllm", "offline": True})
    directory = made(tmp_path, models=[{**CHAT, "weights": "/srv/models/coder"}])
    for artefacts in (offline, directory):
        assert artefacts.stack.tier(Tier.ENGINE)[0].weights == ()
    # such an engine may still fetch what its arguments name
    assert "HF_HUB_OFFLINE" not in engine(directory).env


def test_what_else_its_arguments_name(tmp_path: Path) -> None:
    more = {"extra_weights": ["lab/draft@v1"], "extra_args": ["--load-format=mistral"]}
    unit = made(tmp_path, models=[{**CHAT, **more}]).stack.tier(Tier.ENGINE)[0]
    assert [(each.repository, each.revision, each.load_format) for each in unit.weights] == [
        ("Qwen/Qwen2.5-Coder-7B-Instruct", "main", "mistral"),
        ("lab/draft", "v1", "auto"),
    ]
    adapters = {"lora_adapters": {"tuned": "lab/tuned", "local": "/srv/adapters/local"}}
    tuned = made(tmp_path, models=[{**CHAT, **adapters}]).stack.tier(Tier.ENGINE)[0]
    assert [each.name for each in tuned.weights][1:] == ["lab/tuned@main"]
    apart = made(tmp_path, engine={"kind": "vllm", "extra_args": ["--load-format", "pt"]})
    assert apart.stack.tier(Tier.ENGINE)[0].weights[0].load_format == "pt"


def test_how_the_hub_is_reached(tmp_path: Path) -> None:
    own = {
        "kind": "vllm",
        "env": {"https_proxy": "http://proxy.lab:3128", "VLLM_LOGGING_LEVEL": "x"},
    }
    [weights] = made(tmp_path, engine=own).stack.tier(Tier.ENGINE)[0].weights
    assert weights.environment == {"https_proxy": "http://proxy.lab:3128"}


def test_replicas_of_a_host_share_their_weights(tmp_path: Path) -> None:
    units = made(tmp_path, models=[{**CHAT, "replicas": 2}]).stack.units
    assert len([unit for unit in units if unit.weights]) == 2
    assert len(distinct_weights(units)) == 1


def test_a_revision(tmp_path: Path) -> None:
    command = served(engine(made(tmp_path, models=[{**CHAT, "weights": "lab/coder@v2"}])))
    assert command[0] == "lab/coder"
    assert command[command.index("--revision") + 1] == "v2"


def test_the_key_is_a_secret_of_the_environment(tmp_path: Path) -> None:
    container = engine(made(tmp_path))
    assert list(container.secret_env) == ["VLLM_API_KEY"]
    assert "--api-key" not in container.command


def test_ollama(tmp_path: Path) -> None:
    own = {"kind": "ollama", "kv_cache_dtype": "q8_0", "max_num_seqs": 4}
    artefacts = made(tmp_path, engine=own, models=[{**CHAT, "roles": ["chat"], "replicas": 1}])
    container = engine(artefacts)
    assert container.gpus == (0,)
    assert container.env == {
        "HOME": "/var/lib/ollama",
        "OLLAMA_HOST": f"{ANYWHERE}:11434",
        "OLLAMA_CONTEXT_LENGTH": "8192",
        "OLLAMA_NUM_PARALLEL": "4",
        "OLLAMA_MAX_LOADED_MODELS": "1",
        "OLLAMA_KEEP_ALIVE": "-1",
        "OLLAMA_LOAD_TIMEOUT": "600s",
        "OLLAMA_KV_CACHE_TYPE": "q8_0",
        "OLLAMA_NO_CLOUD": "1",
        "LLAMA_ARG_CACHE_RAM": "2048",
        "OLLAMA_FLASH_ATTENTION": "1",
    }
    assert upstreams(artefacts) == [
        {
            "model": "ollama_chat/qwen2.5-coder:7b-instruct-q4_K_M",
            "api_base": "http://lab-ollama-qwen2.5-coder-7b-0:11434",
            "stream_timeout": 60,
        }
    ]


def test_engines_on_another_host_are_asked_through_its_link(tmp_path: Path) -> None:
    hosts = [{"name": "10.0.0.1"}, {"name": "gpu1", "address": "10.0.0.2", "gpus": "2x l40s"}]
    models = [{**CHAT, "replicas": 2}, {"name": "tiny-coder", "engine": ON_CPU}]
    engine = {"kind": "vllm"}
    artefacts = made(tmp_path, hosts=hosts, engine=engine, models=models)
    assert "--publish" not in arguments(artefacts)
    assert [upstream["api_base"] for upstream in upstreams(artefacts)] == [
        "http://lab-listener-client-0:8080/lab-vllm-qwen2.5-coder-7b-0/v1",
        "http://lab-listener-client-0:8080/lab-vllm-qwen2.5-coder-7b-1/v1",
        "http://lab-llama-cpp-tiny-coder-0:8080/v1",
    ]
    assert [upstream["model"].split("/")[0] for upstream in upstreams(artefacts)] == [
        "hosted_vllm",
        "hosted_vllm",
        "openai",
    ]


def test_engines_on_gpus_are_not_built(tmp_path: Path) -> None:
    with pytest.raises(PlanError) as error:
        made(tmp_path, image_source="build")
    assert str(error.value) == (
        "images.vllm: image_source is 'build', but vllm is not built here\n"
        "    allowed: pull\n"
        "    fix: declare images={'vllm': Image(source='pull')}"
    )


def test_labels_without_gpus_say_nothing_of_them(tmp_path: Path) -> None:
    hosts, own = [{"name": "@local"}], {"kind": "llama_cpp"}
    artefacts = made(tmp_path, hosts=hosts, engine=own, models=[{"name": "tiny-coder"}])
    for unit in artefacts.stack.units:
        public = unit.container.public(digest)
        assert public["ulimits"] == NO_DUMPS
        assert set(HARDWARE) & set(public) == {"ulimits"}


def test_the_image_of_vllm_is_the_release_that_is_sized() -> None:
    assert f":v{DEFAULT_VERSION}." in load_catalog().images["vllm"].reference


def test_drafts_are_said_and_their_weights_brought(tmp_path: Path) -> None:
    """A smaller model of the catalogue, with the same vocabulary."""
    drafts = {"method": "draft_model", "num_speculative_tokens": 4, "draft": "qwen2.5-coder-7b"}
    large = {"name": "qwen2.5-coder-32b", "quantization": "awq", "speculative": drafts}
    artefacts = made(tmp_path, models=[large])
    unit = artefacts.stack.tier(Tier.ENGINE)[0]
    said = list(unit.container.command)
    assert json.loads(said[said.index("--speculative-config") + 1]) == {
        "method": "draft_model",
        "num_speculative_tokens": 4,
        "model": "Qwen/Qwen2.5-Coder-7B-Instruct",
    }
    assert [each.repository for each in unit.weights][1:] == ["Qwen/Qwen2.5-Coder-7B-Instruct"]


def test_drafts_and_experts_of_a_model(tmp_path: Path) -> None:
    drafts = {"method": "mtp", "num_speculative_tokens": 2, "acceptance": 0.8}
    model = {"name": "qwen3.6-35b-a3b", "quantization": "fp8", "language_model_only": True}
    engine = {"kind": "vllm", "enable_expert_parallel": True}
    hosts = [{"name": "gpu1", "gpus": "2x h100"}]
    plain = made(tmp_path, hosts=hosts, models=[model], engine={"kind": "vllm"})
    more = made(tmp_path, hosts=hosts, models=[{**model, "speculative": drafts}], engine=engine)
    said = " ".join(more.stack.tier(Tier.ENGINE)[0].container.command)
    assert '--speculative-config {"method": "mtp", "num_speculative_tokens": 2}' in said
    assert said.endswith("--language-model-only")
    assert "--enable-expert-parallel" in said

    def planned(artefacts: Artefacts) -> Any:
        return artefacts.plan.replicas[0]

    assert planned(more).memory.weights_gib > planned(plain).memory.weights_gib
    assert planned(more).kv_cache_tokens < planned(plain).kv_cache_tokens

    def speed(artefacts: Artefacts) -> float:
        return artefacts.plan.models[0].tokens_per_second_per_user or 0.0

    assert speed(more) > speed(plain)


def test_how_long_one_may_stand_still(tmp_path: Path) -> None:
    """45 s, and longer where nothing shows that a prompt is read."""

    def seconds(**model: Any) -> int:
        (replica,) = made(tmp_path, models=[{**CHAT, **model}]).plan.replicas
        return hang_seconds(replica)

    assert seconds() == 45
    slow = {"extra_args": ["--no-enable-chunked-prefill"], "max_model_len": 32768}
    assert seconds(**slow) == 66
    (replica,) = made(tmp_path).plan.replicas
    windows = replica.model_copy(update={"shows_prompts": False, "max_model_len": 262_144})
    assert hang_seconds(windows) == 525
