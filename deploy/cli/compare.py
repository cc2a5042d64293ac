"""``atelier compare``: the engines side by side, for one model on given GPUs."""

from __future__ import annotations

from typing import Annotated

import typer

from deploy.catalog import load_catalog
from deploy.cli.options import JsonOption
from deploy.cli.output import print_json
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
from deploy.sizing import find_devices
from deploy.sizing.size import SAME_SIZE


def compare(  # noqa: PLR0913, PLR0917  one parameter per option
    model: SizedModelArgument,
    gpus: GpusOption,
    quantization: Annotated[
        list[str] | None,
        typer.Option(
            help="none, awq, gptq, fp8, ... or of GGUF files q4_k_m, q8_0, ...; once for each"
            " format. Else what an engine takes by default, or less where that does not fit."
        ),
    ] = None,
    users: SizedUsersOption = None,
    context: ContextOption = None,
    max_model_len: MaxModelLenOption = None,
    gpu_memory_utilization: UtilizationOption = DEFAULT_UTILIZATION,
    kv_cache_dtype: KvCacheDtypeOption = "auto",
    input_tokens: InputTokensOption = None,
    output_tokens: OutputTokensOption = None,
    json: JsonOption = False,
) -> None:
    """Compare the engines for one model on GPUs: what each gives, and what you give up."""
    from deploy.cli.compare_text import print_comparison
    from deploy.plan.compared_to_json import comparison_to_json
    from deploy.plan.side_by_side import Question, side_by_side

    catalog = load_catalog()
    question = Question(
        model=model,
        devices=find_devices(gpus, catalog),
        quantizations=tuple(quantization or ()),
        users=users,
        context_tokens=context,
        max_model_len=max_model_len,
        gpu_memory_utilization=gpu_memory_utilization,
        kv_cache_dtype=SAME_SIZE.get(kv_cache_dtype, kv_cache_dtype),
        prompt_per_output=prompt_per_output(input_tokens, output_tokens),
    )
    answers = side_by_side(question, catalog)
    if json:
        print_json(comparison_to_json(question, answers))
    else:
        print_comparison(question, answers)
