"""Which settings and environment variables belong to which engine."""

from __future__ import annotations

from deploy.spec.engine_kinds import LLAMA_CPP_VARIABLES, EngineKind

OWN_SETTINGS: dict[str, tuple[EngineKind, ...]] = {
    "threads": ("llama_cpp",),
    "n_gpu_layers": ("llama_cpp",),
    "backend": ("llama_cpp",),
    "split_mode": ("llama_cpp",),
    "tensor_split": ("llama_cpp",),
    "flash_attn": ("llama_cpp", "ollama"),
    "extra_args": ("llama_cpp", "sglang", "tensorrt_llm", "tgi", "vllm"),
    "keep_alive": ("ollama",),
    "shared": ("ollama",),
    "max_loaded_models": ("ollama",),
    "kv_cache_dtype": ("llama_cpp", "ollama", "sglang", "tensorrt_llm", "tgi", "vllm"),
    "tensor_parallel_size": ("sglang", "tensorrt_llm", "tgi", "vllm"),
    "pipeline_parallel_size": ("sglang", "tensorrt_llm", "vllm"),
    "nnodes": ("vllm",),
    "master_port": ("vllm",),
    "gpu_memory_utilization": ("sglang", "tensorrt_llm", "tgi", "vllm"),
    "max_num_batched_tokens": ("sglang", "tensorrt_llm", "tgi", "vllm"),
    "scheduling_policy": ("sglang", "vllm"),
    "hang_seconds": ("sglang", "vllm"),
    "dtype": ("sglang", "vllm"),
    "shm_size": ("sglang", "tensorrt_llm", "tgi", "vllm"),
    "ipc": ("sglang", "tensorrt_llm", "tgi", "vllm"),
    "huggingface_cache": ("sglang", "tensorrt_llm", "tgi", "vllm"),
    "offline": ("sglang", "tensorrt_llm", "tgi", "vllm"),
    "block_size": ("vllm",),
    "enforce_eager": ("sglang", "tensorrt_llm", "tgi", "vllm"),
    "enable_expert_parallel": ("sglang", "tensorrt_llm", "vllm"),
    "cpu_kvcache_space": ("vllm",),
    "cpu_omp_threads_bind": ("vllm",),
}
"""Settings that only some engines have."""
OWN_VARIABLES = {
    "HF_HUB_OFFLINE": "offline",
    "HF_TOKEN": "secrets={'huggingface_token': Secret(...)}",
    "HF_ENDPOINT": "huggingface_endpoint",
    "SGLANG_LOGGING_CONFIG_PATH": "",
    "SGLANG_CACHE_DIR": "",
    "VLLM_API_KEY": "secrets={'engine_api_key': Secret(...)}",
    "VLLM_CPU_KVCACHE_SPACE": "cpu_kvcache_space",
    "VLLM_CPU_OMP_THREADS_BIND": "cpu_omp_threads_bind",
    "LLAMA_API_KEY": "secrets={'engine_api_key': Secret(...)}",
    **LLAMA_CPP_VARIABLES,
    "OLLAMA_HOST": "",
    "OLLAMA_MODELS": "",
    "OLLAMA_KEEP_ALIVE": "keep_alive",
    "OLLAMA_FLASH_ATTENTION": "flash_attn",
    "OLLAMA_KV_CACHE_TYPE": "kv_cache_dtype",
    "OLLAMA_CONTEXT_LENGTH": "max_model_len",
    "OLLAMA_NUM_PARALLEL": "max_num_seqs",
    "OLLAMA_MAX_LOADED_MODELS": "max_loaded_models",
}
"""Environment variables that Atelier sets, and the setting to declare instead."""
QUANTISED_CACHES = ("q8_0", "q4_0")
"""Types of a KV cache that llama.cpp reads only with flash attention."""
KV_CACHE_DTYPES = {
    # of the others that llama.cpp has, its images for CUDA compute no attention on the GPU:
    # https://github.com/ggml-org/llama.cpp/issues/28524
    "llama_cpp": ("auto", "f16", *QUANTISED_CACHES),
    "ollama": ("auto", "f16", *QUANTISED_CACHES),
    "sglang": ("auto", "fp8"),
    "tensorrt_llm": ("auto", "fp8"),
    "tgi": ("auto", "fp8"),
    "vllm": ("auto", "fp8"),
}
"""How each engine can keep its KV cache."""
