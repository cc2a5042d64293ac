"""A comparison of engines as plain data, with the keys that docs/sizing.md promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deploy.catalog import Image
from deploy.plan.side_by_side import EngineAnswer, Question, Weights
from deploy.sizing.reasons_text import INVENTORY, reason_text
from deploy.sizing.to_json import ESTIMATE, speeds


def comparison_to_json(question: Question, answers: Sequence[EngineAnswer]) -> dict[str, Any]:
    """The question, and every engine's answer in the order of the registry."""
    return {
        "model": question.model,
        "gpus": [device.name for device in question.devices],
        "users": question.users,
        "throughput": ESTIMATE,
        "engines": [_answer(answer) for answer in answers],
    }


def _answer(answer: EngineAnswer) -> dict[str, Any]:
    sizing, chosen = answer.sizing, answer.chosen
    fits = bool(sizing.fits)
    return {
        "engine": answer.engine,
        "engine_version": sizing.engine_version,
        "supported": sizing.supported,
        "fits": sizing.fits.value,
        "reasons": [reason_text(each, INVENTORY) for each in sizing.reasons],
        "warnings": [reason_text(each, INVENTORY) for each in sizing.warnings],
        "format": answer.traits.weights,
        "quantization": sizing.quantization or None,
        "dtype": sizing.dtype or None,
        "weights": chosen.source if chosen else None,
        "quantizations": [_weights(each) for each in answer.weights],
        "replicas": sizing.replicas,
        "tensor_parallel_size": sizing.tensor_parallel_size,
        "pipeline_parallel_size": sizing.pipeline_parallel_size,
        "weights_gib_per_gpu": round(sizing.weights_gib_per_gpu, 2),
        "kv_cache_gib_per_gpu": round(sizing.kv_cache_gib_per_gpu, 2),
        "kv_cache_tokens": sizing.kv_cache_tokens,
        "max_model_len_that_fits": answer.one.max_model_len_that_fits,
        "context_tokens": sizing.context_tokens,
        "concurrent_users": sizing.concurrent_users if fits else 0,
        "tokens_per_second_for_one": speeds(answer.one)["tokens_per_second_per_user"],
        **speeds(sizing),
        "licence": answer.images[0].licence if answer.images else None,
        "images": [_image(image) for image in answer.images],
        "at_the_limit": reason_text(sizing.at_the_limit) if sizing.at_the_limit else "",
        "gives_up": list(answer.trade_offs),
    }


def _weights(weights: Weights) -> dict[str, Any]:
    return {
        "quantization": weights.quantization,
        "fits": weights.fits.value,
        "weights": weights.source,
    }


def _image(image: Image) -> dict[str, Any]:
    return {
        "reference": image.reference,
        "licence": image.licence,
        "cuda": image.cuda or None,
    }
