"""How strong a model is, in points: what it solved of a published benchmark.

SWE-bench Verified is taken, the one that most models of today publish: real issues of real
repositories, solved by an agent. Harnesses differ (most vendors use their own), so that a few
points mean nothing. A model without a published score ranks below those that have one, by a rule
of thumb: size, year, and whether it was made for code. So do models that complete code: an agent's
score says nothing of them.

- A mixture of experts counts as the geometric mean of its total and active parameters.
- A year makes up for half the parameters. That is cautious: "Densing law of LLMs" (Xiao et al.,
  2024) finds that a model of half the size does as well some 3.5 months later.
- A general model counts as half as large as one that was made for code.
"""

from __future__ import annotations

import math

from deploy.catalog import Model

FIRST_YEAR = 2023
GENERAL_SHARE = 0.5
"""What a general model counts for, next to one that was made for code."""
POINTS_PER_DOUBLING = 3.5
"""Without a score: so that the largest stay below the least that was published for an agent."""
MOST_WITHOUT_SCORE = 35.0
"""About the least that is published; a model that says nothing gets no more."""
QUANTIZATION_SHARE = {"fp8": 1.0, "q8_0": 1.0, "q5_k_m": 0.98}
"""What weights in fewer bits keep of the score: 8 bits and 16 are told apart by no one."""
FOUR_BIT_SHARE = 0.96
"""The same for four bits; where they were published so, all of it."""
STEP = 5.0
"""Models within so many points count as equally strong: harnesses differ by as much."""
RULE = (
    "percent of SWE-bench Verified, as published; without a score at most 35, by a rule of thumb"
    " (size, year, made for code or not); 4-bit weights x 0.96"
)


def strength(model: Model, quantization: str, role: str = "chat") -> float:
    """How strong a model is, in points; as a completion model always by the rule of thumb."""
    score = model.scores.get("swe_bench_verified") if role == "chat" else None
    points = score.percent if score else _without_score(model)
    return points * _quantization_share(model, quantization)


def step(points: float) -> int:
    """Strength in steps: within one, price and speed decide."""
    return math.floor(points / STEP)


def _without_score(model: Model) -> float:
    total = model.parameters_billion
    size = math.sqrt(total * (model.active_parameters_billion or total))
    purpose = 1.0 if model.made_for_code else GENERAL_SHARE
    rule = size * 2.0 ** (model.year - FIRST_YEAR) * purpose
    return min(POINTS_PER_DOUBLING * math.log2(1 + rule), MOST_WITHOUT_SCORE)


def _quantization_share(model: Model, quantization: str) -> float:
    if quantization in {"none", "f16", model.variants[0].quantization}:
        return 1.0
    return QUANTIZATION_SHARE.get(quantization, FOUR_BIT_SHARE)
