"""Reasons as sentences: the only place that makes them.

A sentence names settings as whoever reads it spells them: on the command line, or in an inventory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploy.sizing.reasons import Reason, ReasonKind, Remedy, RemedyKind

Names = Mapping[str, str]
COMMAND_LINE: Names = {
    "context_tokens": "--context",
    "max_model_len": "--max-model-len",
    "max_num_seqs": "--max-num-seqs",
    "max_num_batched_tokens": "--max-num-batched-tokens",
    "language_model_only": "--language-model-only",
    "quantization": "--quantization",
    "dtype": "--dtype",
    "kv_cache_dtype": "--kv-cache-dtype",
    "gpu_memory_utilization": "--gpu-memory-utilization",
    "tensor_parallel_size": "--tensor-parallel-size",
    "pipeline_parallel_size": "--pipeline-parallel-size",
    "flash_attention": "--flash-attention",
    "enable_expert_parallel": "--enable-expert-parallel",
    "engine": "--engine",
}
"""Settings as ``atelier size`` spells them."""
INVENTORY: Names = {name: name for name in COMMAND_LINE} | {
    "engine": "engine kind",
    "flash_attention": "flash_attn",
}
"""Settings as an inventory spells them."""

REASONS = {
    ReasonKind.DECLINED: "{why}",
    ReasonKind.MEMORY_UNKNOWN: "the memory of this machine's CPU is not declared",
    ReasonKind.ON_APPLE: "{engine} does not run on Apple GPUs",
    ReasonKind.ON_CPU: (
        "the memory of this machine's CPU is not declared, and {engine} is sized on GPUs only"
    ),
    ReasonKind.NOT_MODELLED: (
        "Atelier cannot size {what} with {engine}: whether it fits would be a guess"
    ),
    ReasonKind.NOT_FOR_GFX: ("SGLang's ROCm images are built for {needed}, and {device} is {gfx}"),
    ReasonKind.NOT_ON_AMD: "SGLang does not serve {method} weights on {device}",
    ReasonKind.OTHER_MODEL: (
        "{engine} has no code for models of the type {model_type}, only for {served}"
    ),
    ReasonKind.OTHER_WEIGHTS: "{engine} does not serve {method} weights",
    ReasonKind.OTHER_ROLE: "it is for {roles} only, which Atelier does not serve with {engine}",
    ReasonKind.NO_WEIGHTS: (
        "the catalogue has no {format} weights of it, which is what {engine} loads"
    ),
    ReasonKind.NOT_DEPLOYED_ON: (
        "Atelier does not deploy {engine} on cards of {vendor}: it reads prompts whole there, which"
        " is not modelled"
    ),
    ReasonKind.NVIDIA_ALONE: "{engine} runs only on NVIDIA's cards, not on {vendor}'s",
    ReasonKind.UNEVEN_STAGES: (
        "{layers} layers are not shared out evenly over {stages} pipeline stages, and how {engine}"
        " shares them is not modelled"
    ),
    ReasonKind.OTHER_CARD: (
        "TGI's image is built for compute capability 8.0 to 9.0, and {device} has {capability}"
    ),
    ReasonKind.NO_BLOCKS: (
        "TensorRT-LLM serves fp8 weights in blocks on cards of compute capability 9.0 to 10.3, and"
        " {device} has {capability}"
    ),
    ReasonKind.CAPABILITY: ("{what} compute capability {needed}, and {device} has {capability}"),
    ReasonKind.SEVERAL_VENDORS: "GPUs of {vendors} do not serve one engine together",
    ReasonKind.TOO_FEW_GPUS: "needs {needed} GPUs, there are {gpus}",
    ReasonKind.TOO_MANY_STAGES: "{layers} layers cannot make {stages} pipeline stages",
    ReasonKind.ILLEGAL_SPLIT: "{causes}",
    ReasonKind.NO_MTP_LAYERS: (
        "speculative decoding with mtp needs layers for multi-token prediction, and its config.json"
        " names none"
    ),
    ReasonKind.STATES_DRAFTED: (
        "llama.cpp keeps memory to undo drafted tokens, and for models with states it is not known"
        " how much"
    ),
    ReasonKind.OTHER_VOCABULARY: (
        "the draft model's vocabulary has {draft} entries, the model's {own}: they must be the same"
    ),
    ReasonKind.DRAFT_OF_OTHER_SHAPE: (
        "the draft keeps tokens of another size than this model's layers of several kinds: how"
        " vLLM lays both out is not modelled"
    ),
    ReasonKind.UNEVEN_EXPERTS: (
        "{experts} whole experts cannot be shared out evenly over {gpus} GPUs"
    ),
    ReasonKind.UPCAST: (
        "SGLang turns whole experts in mxfp4 into 16 bits on {device}, where they take four times"
        " the memory"
    ),
    ReasonKind.NO_EXPERTS: "expert parallelism: the model has no experts",
    ReasonKind.HEADS: "{heads} attention heads do not divide by {tensor_parallel_size}",
    ReasonKind.VOCABULARY: (
        "the vocabulary, {vocabulary} padded to {padded}, does not divide by {tensor_parallel_size}"
    ),
    ReasonKind.INNER_SIZE: "{name} {size} does not divide by {tensor_parallel_size}",
    ReasonKind.QUANTIZATION_GROUPS: (
        "{name} {size} is {groups:g} groups of {group_size} of {method}, which do not divide by"
        " {tensor_parallel_size}"
    ),
    ReasonKind.MEMORY: (
        "needs {weights_gib:.1f} GiB of weights, {overhead_gib:.1f} GiB of overhead and"
        " {kv_cache_gib:.1f} GiB of KV cache for {context_tokens} tokens on each GPU; {device}"
        " leaves {budget_gib:.1f} GiB ({usable_gib:.1f} x {gpu_memory_utilization:g})"
    ),
    ReasonKind.LAYERS_ON_CPU: (
        "needs {needed_gib:.1f} GiB for weights and {slots} x {context_tokens} tokens; the GPUs"
        " leave {usable_gib:.1f} GiB, so {away} of {layers} layers stay on the CPU, which reads"
        " them at about {cpu_gb_per_second:.0f} GB/s and sets the pace"
    ),
    ReasonKind.LOADED_TOGETHER: (
        "{names} are loaded at the same time and need {needed_gib:.1f} GiB of each GPU, which"
        " leaves {usable_gib:.1f} GiB"
    ),
    ReasonKind.CACHE_NOT_READ: (
        "llama.cpp does not start {model} with a KV cache in {dtype}: that needs flash attention,"
        " which this model or GPU does not have, and a head size that is a multiple of 32"
    ),
    ReasonKind.BEYOND_MODEL: (
        "the model was made for {limit} tokens, and {set[max_model_len]} is {tokens}"
    ),
    ReasonKind.CONTEXT_TOO_LONG: (
        "requests have at most {longest} tokens here, and {set[context_tokens]} is {tokens}"
    ),
    ReasonKind.STATE_BLOCKS: (
        "max_num_seqs {max_num_seqs}: vLLM does not start with more than its {blocks} blocks of"
        " memory, since each request's state takes one"
    ),
    ReasonKind.DOES_NOT_FIT: (
        "does not fit: {weights_gib:.1f} GiB of weights and {overhead_gib:.1f} GiB of overhead in"
        " {budget_gib:.1f} GiB per GPU"
    ),
    ReasonKind.FEWER_USERS: "answers {users} users at once instead of {best}",
    ReasonKind.PIPELINE_SLOWER: (
        "answers {users} users at once, {reading} at reading speed (10 tokens/s;"
        " {best_reading} here): a pipeline answers each of them more slowly"
    ),
    ReasonKind.NO_BETTER: "no more users at once, and no faster",
    ReasonKind.GPUS_UNUSED: "{unused} of {gpus} GPUs stay unused",
    ReasonKind.KINDS_UNUSED: (
        "{names} stay unused: together with them, the smallest GPU would decide for all"
    ),
    ReasonKind.KINDS_TOGETHER: "GPUs of several kinds ({names}): the smallest decides for all",
    ReasonKind.PROBABLY: (
        "probably fits, but start-ups with the same settings differ: {least_gib:.1f} to"
        " {kv_cache_gib:.1f} GiB are left for the KV cache, {needed_gib:.1f} GiB are needed for"
        " {context_tokens} tokens, and CUDA graphs take {outside_gib:.1f} GiB on top"
    ),
    ReasonKind.OLD_RELEASE: (
        "probably fits, but releases like {version} ran out of memory at start-ups that had room"
        " to spare: use a newer one"
    ),
    ReasonKind.NOT_MEASURED: (
        "probably fits: what a step of {engine} {version} takes was worked out from its source,"
        " and not measured here; {kv_cache_gib:.1f} GiB are left for the KV cache"
    ),
    ReasonKind.PROBABLY_ON_GPU: (
        "probably fits: {needed_gib:.1f} to {most_gib:.1f} GiB are needed for weights and slots,"
        " and the GPUs leave {usable_gib:.1f} GiB"
    ),
    ReasonKind.NO_FLASH_ATTENTION: (
        "sized without flash attention ({set[flash_attention]} turns it on where model and GPU"
        " can have it): buffers grow with the context, to {graph_gib:.1f} GiB on each GPU here"
    ),
    ReasonKind.OLLAMA_CONTEXT: (
        "sized with {sized} tokens of context: with this memory Ollama takes {tokens} where"
        " OLLAMA_CONTEXT_LENGTH is not set"
    ),
    ReasonKind.USERS_WAIT: (
        "{wanted} users at once: {users} are answered, the others wait in the queue"
    ),
    ReasonKind.READS_ALONE: (
        "the speed of {slots} slots together counts only what is read, not what is computed, so it"
        " will be lower"
    ),
    ReasonKind.NO_LINK: "there is no NVLink, so tensor parallelism goes over PCIe",
    ReasonKind.OTHER_DTYPE: "config.json says {declared}: {device} uses {dtype}",
    ReasonKind.OTHER_QUANTIZATION: "config.json says {declared}, sized as {method}",
    ReasonKind.TAKES_IMAGES: "it also takes images, so memory for their encoder is counted",
    ReasonKind.ENCODER_UNKNOWN: (
        "it also takes images: the weights of their encoder are estimated by its usual form, and"
        " what it takes at work is not known"
    ),
    ReasonKind.SLIDING_WINDOWS: (
        "sliding windows: kv_cache_tokens counts every layer in full, but requests take less"
    ),
    ReasonKind.STATE_LAYERS: (
        "{layers} of its layers keep no tokens, but a state of {state_mib:.0f} MiB on each GPU for"
        " every request; memory comes in blocks of {block_tokens} tokens"
    ),
    ReasonKind.STATE_SLOTS: (
        "each of {requests} requests at once has {each} slots of {state_mib:.0f} MiB for its states"
        " on each GPU, {pool_gib:.1f} GiB together; {set[max_num_seqs]} limits the requests"
    ),
    ReasonKind.DRAFTS: (
        "{method} drafts {tokens} tokens at a time: {weights_gib:.2f} GiB of weights on each GPU;"
        " the speed assumes {tokens_per_step:.1f} tokens a step: measure yours"
    ),
    ReasonKind.AMD: (
        "AMD: {engine} runs with ROCm; the overheads are calibrated on NVIDIA and less certain"
    ),
    ReasonKind.NO_NATIVE_KERNELS: (
        "{method} weights have no native kernels on {device}: check before buying"
    ),
    ReasonKind.FP8_WEIGHTS_ONLY: (
        "{device} has compute capability {capability}, and fp8 computes from 8.9: only the weights"
        " are kept in fp8 (Marlin), which is no faster"
    ),
    ReasonKind.MARLIN: "{method} runs through Marlin on {device}: weights only",
    ReasonKind.FP8_CACHE_CONVERTED: (
        "an fp8 KV cache saves memory on {device} but is converted at every use"
    ),
    ReasonKind.OLD_FOR_IMAGES: (
        "vLLM's default images (CUDA 13) do not run on compute capability 7.0"
    ),
    ReasonKind.WAITS: "Request {request} waits in the queue until one ends.",
    ReasonKind.QUEUE: (
        "Request {request} waits in the queue until one ends. When running requests outgrow the KV"
        " cache, {when_full}."
    ),
    ReasonKind.RESERVED: (
        "Request {request} waits in the queue until one ends. Each has room for its prompt and all"
        " that it may write from its start: {context_tokens} tokens unless its client limits it."
    ),
    ReasonKind.SLOTS: (
        "Each of {slots} slots keeps {context_tokens} tokens; request {request} waits."
        " {setting} sets the slots: one more costs {slot_gib:.2f} GiB."
    ),
}
REMEDIES = {
    RemedyKind.SHORTER_CONTEXT: "use {set[max_model_len]} {tokens}",
    RemedyKind.LOWER_CONTEXT: "lower {set[context_tokens]}",
    RemedyKind.LANGUAGE_MODEL_ONLY: "use {set[language_model_only]} to serve only text",
    RemedyKind.SHORTER_STEPS: "lower {set[max_num_batched_tokens]} to {tokens}",
    RemedyKind.LOWER_MAX_NUM_SEQS: "lower {set[max_num_seqs]} to {most}",
    RemedyKind.RAISE_MAX_MODEL_LEN: "raise {set[max_model_len]}",
    RemedyKind.QUANTIZE: "use {set[quantization]} {method}",
    RemedyKind.SMALLER_QUANTIZATION: "use a smaller quantization",
    RemedyKind.OTHER_METHOD: "use another {set[quantization]}",
    RemedyKind.OTHER_DTYPE: "use {set[dtype]} float16",
    RemedyKind.AUTO_KV_CACHE: "use {set[kv_cache_dtype]} auto",
    RemedyKind.FEWER_LOADED: "lower max_loaded_models to {most}",
    RemedyKind.MORE_GPUS: "take {gpus}x {device}",
    RemedyKind.MORE_MEMORY: "take more GPU memory",
    RemedyKind.OTHER_GPUS_OR_MODEL: "take larger GPUs or a smaller model",
    RemedyKind.RAISE_UTILIZATION: "raise {set[gpu_memory_utilization]}",
    RemedyKind.RAISE_SHARE: "declare a larger share",
    RemedyKind.LEGAL_SPLIT: "use {set[tensor_parallel_size]} {sizes}",
    RemedyKind.WHOLE_EXPERTS: (
        "use {set[enable_expert_parallel]}, with which GPUs keep whole experts"
    ),
    RemedyKind.SLICED_EXPERTS: "remove {set[enable_expert_parallel]}",
    RemedyKind.SPLIT_LESS: "add GPUs, or split less",
    RemedyKind.COMPARE_PIPELINE: "compare it with {set[pipeline_parallel_size]}",
    RemedyKind.SERVE_GGUF: "use {set[engine]} ollama or llama_cpp (natively, not in a container)",
    RemedyKind.USE_VLLM: "use {set[engine]} vllm",
    RemedyKind.OTHER_IMAGE: "use a -cu129 image",
}


def reason_text(reason: Reason, names: Names = COMMAND_LINE) -> str:
    """A reason with its ways out."""
    what, ways = cause_text(reason, names), remedies_text(reason, names)
    return f"{what}; {ways}" if ways else what


def cause_text(reason: Reason, names: Names = COMMAND_LINE) -> str:
    """A reason without its ways out."""
    match reason.kind:
        case ReasonKind.CHOSEN:
            return _chosen(reason.figures)
        case ReasonKind.KV_HEADS:
            return _kv_heads(reason.figures)
    causes = "; ".join(cause_text(cause, names) for cause in reason.causes)
    return REASONS[reason.kind].format(set=names, causes=causes, **reason.figures)


def remedies_text(reason: Reason, names: Names = COMMAND_LINE) -> str:
    """The ways out of a reason; empty where there is none."""
    return ", or ".join(remedy_text(remedy, names) for remedy in reason.remedies)


def remedy_text(remedy: Remedy, names: Names = COMMAND_LINE) -> str:
    """One way out."""
    return REMEDIES[remedy.kind].format(set=names, **remedy.figures)


def _chosen(figures: Mapping[str, Any]) -> str:
    parts = [f"tensor_parallel_size {figures['tensor_parallel_size']}"]
    if figures["pipeline_parallel_size"] > 1:
        parts.append(f"pipeline_parallel_size {figures['pipeline_parallel_size']}")
    if figures["replicas"] > 1:
        parts.append(f"{figures['replicas']} replicas")
    return f"{', '.join(parts)}: answers the most users at once; of equals, the fastest"


def _kv_heads(figures: Mapping[str, Any]) -> str:
    heads, size = figures["kv_heads"], figures["tensor_parallel_size"]
    verb = "divide by" if heads > size else "replicate evenly over"
    return f"{heads} KV heads do not {verb} {size}"
