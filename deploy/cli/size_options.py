"""What the verbs that size a model ask for: ``atelier size`` and ``atelier compare``."""

from __future__ import annotations

from typing import Annotated

import typer

from deploy.errors import PlanError, Problem

DEFAULT_UTILIZATION = 0.9
SizedModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="A model of the catalogue, or a config.json.")
]
GpusOption = Annotated[str, typer.Option(help="What it runs on, e.g. '2x l40s'.")]
UtilizationOption = Annotated[
    float, typer.Option(help="Share of each GPU's memory that the engine takes.")
]
MaxModelLenOption = Annotated[
    int | None, typer.Option(help="Longest request; the longest that fits by default.")
]
KvCacheDtypeOption = Annotated[
    str,
    typer.Option(
        help="Type of the KV cache: auto or fp8 (fp8_e4m3, fp8_e5m2); with GGUF files q8_0 or q4_0."
    ),
]
SizedUsersOption = Annotated[int | None, typer.Option(help="Requests at the same time.")]
ContextOption = Annotated[int | None, typer.Option(help="Tokens of each request; 8192 by default.")]
InputTokensOption = Annotated[
    int | None, typer.Option(help="New tokens of each prompt; reading them slows down all answers.")
]
OutputTokensOption = Annotated[
    int | None, typer.Option(help="Tokens of each answer, with --input-tokens.")
]


def prompt_per_output(prompt: int | None, answer: int | None) -> float:
    """New tokens of prompts for each token that is written.

    Raises:
        PlanError: if only one of both is known, or either cannot be.
    """
    if (prompt is None) != (answer is None):
        found = f"{prompt} and {answer}"
        raise PlanError(Problem("input_tokens, output_tokens", found, "both, or none of them"))
    if prompt is None or answer is None:
        return 0.0
    if prompt < 0:
        raise PlanError(Problem("input_tokens", str(prompt), "a whole number from 0"))
    if answer < 1:
        raise PlanError(Problem("output_tokens", str(answer), "a whole number from 1"))
    return prompt / answer
