"""A load of made-up people on a deployment, and what they measured next to the plan's promise.

Why no load generator that exists: guidellm brings 97 packages with it (torch, CUDA, transformers),
``vllm bench serve`` all of vLLM, genai-perf 73 (transformers, pandas); inference-perf wants Python
3.12. locust (38 packages) and k6 (a Go program) know no streams of events: what matters here, the
time until each token, would be our own code there, too, as would be people who stop a completion
because they type on. httpx, which Atelier has anyway, is enough for that.
"""
