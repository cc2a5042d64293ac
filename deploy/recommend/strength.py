"""A rule of thumb to rank models by: their size, their year, what they were made for.

It is no measurement: benchmarks of a model say more, and trying it on one's own code says most.

- A mixture of experts counts as the geometric mean of its total and active parameters.
- A year makes up for half the parameters. That is cautious: "Densing law of LLMs" (Xiao et al.,
  2024) finds that a model of half the size does as well some 3.5 months later.
- A general model counts as half as large as one that was made for code.
- Weights in 4 bits count for 0.8, in 5 for 0.9; where they were published in them, in full.
"""

from __future__ import annotations

import math

from deploy.catalog import Model

FIRST_YEAR = 2023
GENERAL_SHARE = 0.5
"""What a general model counts for, next to one that was made for code."""
QUANTIZATION_SHARE = {"fp8": 1.0, "q8_0": 1.0, "q5_k_m": 0.9}
"""What weights in fewer bits count for: nobody tells 8 bits from 16."""
FOUR_BIT_SHARE = 0.8
"""The same for four bits."""
STEP = 1.25
"""Models within such a factor count as equally strong: the rule cannot tell them apart."""
RULE = (
    "a rule of thumb, no benchmark: billion parameters (experts: root of total x active), doubled"
    " per year since 2023, halved where not made for code, 4-bit weights x 0.8"
)


def strength(model: Model, quantization: str) -> float:
    """How strong a model is by the rule of thumb, in billion parameters of 2023."""
    total = model.parameters_billion
    size = math.sqrt(total * (model.active_parameters_billion or total))
    years = 2.0 ** (model.year - FIRST_YEAR)
    purpose = 1.0 if model.made_for_code else GENERAL_SHARE
    return size * years * purpose * _quantization_share(model, quantization)


def step(strength_billion: float) -> int:
    """Strength in steps of a quarter: within one, price and speed decide."""
    return math.floor(math.log(strength_billion) / math.log(STEP))


def _quantization_share(model: Model, quantization: str) -> float:
    if quantization in {"none", "f16", model.variants[0].quantization}:
        return 1.0
    return QUANTIZATION_SHARE.get(quantization, FOUR_BIT_SHARE)
