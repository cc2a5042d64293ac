"""Builds every image that make test uses: once, and before any test runs.

Tests run without the proxies and the settings of whoever runs them; builds may need those.
"""

from __future__ import annotations

from deploy.catalog import load_catalog
from deploy.images import build_images, make_build_plan
from tests.e2e import fake_aristote, fake_vllm, pebble, provider
from tests.e2e.hosts import build_host_image

NAMES = (
    *("llama-cpp", "litellm", "open-webui", "ollama"),
    *("postgres", "valkey", "haproxy", "python", "certbot", "rabbitmq", "vllm-cpu"),
)

if __name__ == "__main__":
    build_images([make_build_plan(name, load_catalog()) for name in NAMES], report=print)
    for with_docker in (False, True):
        build_host_image(with_docker=with_docker)
    fake_aristote.build()
    fake_vllm.build()
    pebble.build()
    provider.build()
