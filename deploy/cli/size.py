"""``atelier size``: whether a model fits on GPUs, for how many people, and how fast."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from deploy.catalog import Catalog, load_catalog
from deploy.cli.options import JsonOption, writable
from deploy.cli.output import print_json
from deploy.cli.paragraphs import print_list
from deploy.cli.size_options import (
    DEFAULT_UTILIZATION,
    ContextOption,
    GpusOption,
    InputTokensOption,
    KvCacheDtypeOption,
    MaxModelLenOption,
    OutputTokensOption,
    SizedModelArgument,
    SizedUsersOption,
    UtilizationOption,
    prompt_per_output,
)
from deploy.cli.size_page import write_sizing_page
from deploy.cli.size_text import print_sizing
from deploy.errors import PlanError, Problem, UnsupportedModelError
from deploy.sizing import (
    Fit,
    Sizing,
    SizingRequest,
    Speculation,
    find_devices,
    find_model,
    find_speculation,
    sizing_to_json,
)
from deploy.sizing.engines import DEFAULT_VERSIONS, size_request
from deploy.sizing.observed import Difference, compare, difference_text
from deploy.sizing.reasons import ReasonKind, reason
from deploy.sizing.release import DEFAULT_VERSION
from deploy.sizing.size import SAME_SIZE
from deploy.spec.engine_kinds import ENGINES, EngineKind

SPECULATIVE_CONFIG = (
    'a JSON object such as {"method": "mtp", "num_speculative_tokens": 3}; methods: mtp, eagle3,'
    " draft_model, ngram"
)


class EngineName(StrEnum):
    """The engines that can be sized."""

    VLLM = "vllm"
    SGLANG = "sglang"
    TENSORRT_LLM = "tensorrt-llm"
    TGI = "tgi"
    OLLAMA = "ollama"
    LLAMA_CPP = "llama-cpp"


KINDS: dict[EngineName, EngineKind] = {
    EngineName.VLLM: "vllm",
    EngineName.SGLANG: "sglang",
    EngineName.TENSORRT_LLM: "tensorrt_llm",
    EngineName.TGI: "tgi",
    EngineName.OLLAMA: "ollama",
    EngineName.LLAMA_CPP: "llama_cpp",
}


def size(  # noqa: PLR0913, PLR0917  one parameter per option
    model: SizedModelArgument,
    gpus: GpusOption,
    tensor_parallel_size: Annotated[
        int | None, typer.Option(help="How many GPUs share each layer; the best by default.")
    ] = None,
    pipeline_parallel_size: Annotated[
        int | None, typer.Option(help="How many groups of GPUs each have a part of the layers.")
    ] = None,
    gpu_memory_utilization: UtilizationOption = DEFAULT_UTILIZATION,
    max_model_len: MaxModelLenOption = None,
    dtype: Annotated[
        str | None, typer.Option(help="Type of the numbers: bfloat16, float16 or float32.")
    ] = None,
    quantization: Annotated[
        str | None,
        typer.Option(
            help="Format of the weights: none, awq, gptq, fp8, int8, mxfp4, nvfp4, ..., or of GGUF"
            " files q4_k_m, q8_0, ..."
        ),
    ] = None,
    kv_cache_dtype: KvCacheDtypeOption = "auto",
    users: SizedUsersOption = None,
    context: ContextOption = None,
    input_tokens: InputTokensOption = None,
    output_tokens: OutputTokensOption = None,
    weights_gib: Annotated[
        float | None, typer.Option(help="Size of the weight files, where you know it.")
    ] = None,
    max_num_seqs: Annotated[
        int | None,
        typer.Option(help="The most requests at the same time; the engine's default unless set."),
    ] = None,
    max_num_batched_tokens: Annotated[
        int | None,
        typer.Option(help="The most tokens of one step; the engine's default unless set."),
    ] = None,
    data_parallel_size: Annotated[
        int,
        typer.Option(
            help="How many groups of GPUs have the attention layers each, and share the experts."
        ),
    ] = 1,
    enable_expert_parallel: Annotated[
        bool,
        typer.Option(
            "--enable-expert-parallel",
            help="Each GPU has whole experts, instead of a slice of every expert.",
        ),
    ] = False,
    speculative_config: Annotated[
        str | None,
        typer.Option(
            metavar="JSON",
            help='What drafts tokens, e.g. {"method": "mtp", "num_speculative_tokens": 3}; with'
            ' "model" the name of a draft model or its config.json, with "acceptance" the share of'
            " drafted tokens that are right.",
        ),
    ] = None,
    language_model_only: Annotated[
        bool,
        typer.Option(
            "--language-model-only",
            help="Serve a model that takes images without its image encoder.",
        ),
    ] = False,
    enable_prefix_caching: Annotated[
        bool,
        typer.Option(
            "--enable-prefix-caching",
            help="Reuse the beginnings of prompts for models with a state (Mamba), too.",
        ),
    ] = False,
    max_loras: Annotated[int, typer.Option(help="LoRA adapters at once.")] = 0,
    max_lora_rank: Annotated[int, typer.Option(help="Largest rank of the adapters.")] = 16,
    enforce_eager: Annotated[
        bool,
        typer.Option(
            "--enforce-eager", help="Without CUDA graphs; it is slower than the estimate then."
        ),
    ] = False,
    flash_attention: Annotated[
        bool | None,
        typer.Option(
            help="Flash attention in llama.cpp and Ollama; the engine's choice unless set."
        ),
    ] = None,
    engine: Annotated[EngineName, typer.Option(help="Engine that serves it.")] = EngineName.VLLM,
    engine_version: Annotated[
        str | None,
        typer.Option(
            help=f"Version of vLLM, whose overheads changed a lot; {DEFAULT_VERSION} unless set."
        ),
    ] = None,
    observed: Annotated[
        Path | None,
        typer.Option(
            metavar="LOGFILE",
            help="Start-up log of vLLM, SGLang or llama.cpp to compare with.",
            exists=True,
            dir_okay=False,
            readable=True,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", callback=writable, help="Write a page (HTML) with diagrams."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Size one model on GPUs: what fits, memory, context, users at once, an estimated speed."""
    catalog = load_catalog()
    devices = find_devices(gpus, catalog)
    try:
        found = find_model(model, catalog, quantization, KINDS[engine])
    except UnsupportedModelError as error:
        names = tuple(device.name for device in devices)
        declined = reason(ReasonKind.DECLINED, why=str(error))
        _print(Sizing(False, Fit.NO, (declined,), model, engine.value, names), json)
        return
    request = SizingRequest(
        model=found.architecture,
        devices=devices,
        engine=KINDS[engine],
        name=found.name,
        tensor_parallel_size=tensor_parallel_size,
        pipeline_parallel_size=pipeline_parallel_size,
        gpu_memory_utilization=gpu_memory_utilization,
        max_model_len=max_model_len,
        dtype=dtype,
        quantization=quantization,
        kv_cache_dtype=SAME_SIZE.get(kv_cache_dtype, kv_cache_dtype),
        users=users,
        context_tokens=context,
        weights_gib=found.weights_gib if weights_gib is None else weights_gib,
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=max_num_batched_tokens,
        engine_version=_version(engine, engine_version),
        prompt_per_output=prompt_per_output(input_tokens, output_tokens),
        enforce_eager=enforce_eager,
        speculation=_speculation(speculative_config, engine, catalog),
        data_parallel_size=data_parallel_size,
        enable_expert_parallel=enable_expert_parallel,
        language_model_only=language_model_only,
        enable_prefix_caching=enable_prefix_caching,
        lora_slots=max_loras,
        lora_rank=max_lora_rank,
        flash_attention=flash_attention,
    )
    sizing = size_request(request)
    differences = () if observed is None else _differences(sizing, observed)
    if plot is not None:
        write_sizing_page(plot, request, sizing)
    _print(sizing, json, differences)


def _differences(sizing: Sizing, log: Path) -> tuple[Difference, ...]:
    """What an engine's log says otherwise."""
    if found := compare(sizing, log.read_text(encoding="utf-8", errors="replace")):
        return found
    allowed = "a start-up log of vLLM, SGLang or llama.cpp, with its lines about memory"
    raise PlanError(Problem("observed", str(log), allowed))


def _version(engine: EngineName, declared: str | None) -> str:
    if declared and engine is not EngineName.VLLM:
        raise PlanError(Problem("engine_version", engine.value, "with --engine vllm"))
    return declared or DEFAULT_VERSIONS.get(KINDS[engine], DEFAULT_VERSION)


def _speculation(text: str | None, engine: EngineName, catalog: Catalog) -> Speculation | None:
    """What ``--speculative-config`` says, with the share of drafts accepted next to vLLM's keys."""
    if text is None:
        return None
    if not ENGINES[KINDS[engine]].drafts:
        allowed = "with --engine vllm or llama-cpp"
        raise PlanError(Problem("speculative_config", engine.value, allowed))
    try:
        said = json_module.loads(text)
        method, tokens = str(said["method"]), int(said["num_speculative_tokens"])
        draft, accepted = said.get("model"), said.get("acceptance")
        draft = None if draft is None else str(draft)
        acceptance = None if accepted is None else float(accepted)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise PlanError(Problem("speculative_config", text, SPECULATIVE_CONFIG)) from None
    return find_speculation(method, tokens, draft, acceptance, catalog)


def _print(sizing: Sizing, as_json: bool, differences: tuple[Difference, ...] = ()) -> None:
    if as_json:
        observed = [{**asdict(found), "error": found.error} for found in differences]
        more = {"observed": observed} if differences else {}
        print_json({**sizing_to_json(sizing), **more})
    else:
        print_sizing(sizing)
        print_list("observed", map(difference_text, differences))
