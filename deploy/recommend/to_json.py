"""A recommendation as plain data, with the keys that docs/reference-recommend.md promises."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from deploy.cost import efficiency
from deploy.recommend.evaluate import Option
from deploy.recommend.recommend import Recommendation
from deploy.recommend.reference import SOURCE
from deploy.recommend.strength import RULE
from deploy.sizing.to_json import ESTIMATE, sizing_to_json


def recommendation_to_json(answer: Recommendation) -> dict[str, Any]:
    """Everything that was found; money in EUR before tax."""
    options = [option_to_json(o, answer.request.rates.utilization) for o in answer.options]
    return {
        "request": _request(answer),
        "recommended": options[0] if options else None,
        "options": options,
        "reasons": list(answer.reasons),
        "warnings": list(answer.warnings),
        "not_chosen": [asdict(lost) for lost in answer.not_chosen],
        "excluded_models": [asdict(model) for model in answer.excluded_models],
        "break_even": asdict(answer.break_even) if answer.break_even else None,
        "reference": _reference(answer),
        "rule_of_strength": RULE,
        "throughput": ESTIMATE,
    }


def option_to_json(option: Option, utilization: float) -> dict[str, Any]:
    """One option; what is not known is null."""
    hardware, sizing, cost = option.hardware, option.sizing, option.hardware.cost
    return {
        "hardware": hardware.label,
        "kind": hardware.kind,
        "gpus": list(hardware.gpus),
        "machines": hardware.machines,
        "model": option.candidate.model,
        "parameters_billion": option.candidate.parameters_billion,
        "quantization": option.candidate.quantization,
        "engine": option.candidate.engine,
        "kv_cache_dtype": sizing.kv_cache_dtype,
        "tensor_parallel_size": sizing.tensor_parallel_size,
        "pipeline_parallel_size": sizing.pipeline_parallel_size,
        "replicas": sizing.replicas,
        "max_model_len": sizing.max_model_len,
        "context_tokens": sizing.context_tokens,
        "users": option.users,
        "users_at_reading_speed": option.users_served,
        "tokens_per_second_per_user": round(option.tokens_per_second_per_user, 2),
        "tokens_per_second": round(option.tokens_per_second, 1),
        "completion_seconds": _rounded(option.completion_seconds),
        "strength": round(option.strength, 1),
        "price_eur": cost.price_eur if cost else None,
        "hardware_eur_per_month": _rounded(cost.hardware_eur_per_month if cost else None),
        "power_eur_per_month": _rounded(cost.power_eur_per_month if cost else None),
        "eur_per_month": _rounded(option.eur_per_month),
        "eur_per_user_per_month": _rounded(option.eur_per_user_per_month),
        "eur_per_million_tokens": _rounded(option.eur_per_million_tokens(utilization)),
        "power_watts": hardware.power_watts,
        **_efficiency(option),
        "sizing": sizing_to_json(sizing),
    }


def _efficiency(option: Option) -> dict[str, float | None]:
    watts, price = option.hardware.power_watts, option.hardware.price_eur
    figures = efficiency(option.tokens_per_second, option.users, watts or 1, price or 1)
    return {
        "watts_per_user": _rounded(figures.watts_per_user if watts else None),
        "tokens_per_second_per_watt": _rounded(
            figures.tokens_per_second_per_watt if watts else None
        ),
        "tokens_per_second_per_eur": _rounded(
            figures.tokens_per_second_per_eur if price else None, 4
        ),
    }


def _rounded(number: float | None, digits: int = 2) -> float | None:
    return None if number is None else round(number, digits)


def _request(answer: Recommendation) -> dict[str, Any]:
    request = answer.request
    return {
        "users": request.users,
        "gpus": list(request.gpus),
        "use": request.use.value,
        "work": request.work,
        "role": request.role,
        "with_completion": request.with_completion,
        "context_tokens": request.context,
        "budget_eur": request.budget_eur,
        "budget_eur_per_month": request.budget_eur_per_month,
        "saas_eur_per_million_tokens": request.saas_eur_per_million_tokens,
        **asdict(request.rates),
    }


def _reference(answer: Recommendation) -> dict[str, Any]:
    row = answer.reference
    return {
        "source": SOURCE,
        "users": row.users,
        "gpus": [list(gpus) for gpus in row.gpus],
        "engine": row.engine,
        "sizes": row.sizes,
        "findings": [asdict(finding) for finding in answer.findings],
    }
