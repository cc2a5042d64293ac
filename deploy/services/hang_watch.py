"""What ends a vLLM that hangs, and what it is told; see templates/vllm/hang_watch.py."""

from __future__ import annotations

import math
from pathlib import PurePosixPath

from deploy.plan.replica_plan import ReplicaPlan
from deploy.render import TEMPLATES
from deploy.services.container import LOOPBACK
from deploy.services.host_files import ConfigFile
from deploy.services.runs import canonical_json

PROGRAM = "hang_watch.py"
FILES = (PROGRAM, "progress.py", "last_state.py")
REPORT = PurePosixPath("/tmp/atelier-hang.json")  # noqa: S108 - in the container
"""Where it writes why it ended the engine; lasts as long as the container."""
EXIT_STATUS = 75
"""Of a container whose engine hung."""
SECONDS = 45
"""On GPUs: a step of 8192 tokens takes seconds, and users are answered elsewhere within a minute.
"""
SECONDS_ON_CPU = 300
"""As long as a stream may be silent there: a step takes minutes on a slow one."""
SLOWEST_TOKENS_PER_SECOND = 500
"""At which a whole prompt is read on GPUs, where no figure shows that it is."""
WHOLE_PROMPTS = ("--no-enable-chunked-prefill", "--enable-chunked-prefill=false")
"""Arguments with which a step is as long as the prompt."""


def hang_seconds(replica: ReplicaPlan) -> int:
    """How long a replica may stand still while somebody waits; 0 for ever."""
    declared = replica.engine.hang_seconds
    if declared is not None:
        return declared
    seconds = SECONDS if replica.gpus else SECONDS_ON_CPU
    if replica.shows_prompts and not set(WHOLE_PROMPTS) & set(map(str.lower, replica.extra_args)):
        return seconds
    return max(seconds, math.ceil(replica.max_model_len / SLOWEST_TOKENS_PER_SECOND))


def files(replica: ReplicaPlan) -> dict[str, ConfigFile]:
    """The program; none where the replica is not watched."""
    if not hang_seconds(replica):
        return {}
    return {name: ConfigFile(content=(TEMPLATES / "vllm" / name).read_text()) for name in FILES}


def watched(
    replica: ReplicaPlan, directory: PurePosixPath, port: int, address: str = LOOPBACK
) -> tuple[str, ...]:
    """What runs the engine's command; nothing where the replica is not watched.

    Args:
        replica: what is watched.
        directory: where the program is in the container.
        port: that the engine answers on.
        address: that it answers on.
    """
    seconds = hang_seconds(replica)
    if not seconds:
        return ()
    path, body = _one_token(replica)
    place = {"address": address, "port": port}
    settings = {"seconds": seconds, **place, "path": path, "body": body, "report": str(REPORT)}
    return ("python3", str(directory / PROGRAM), canonical_json(settings))


def _one_token(replica: ReplicaPlan) -> tuple[str, dict[str, object]]:
    """The least that the engine can be asked for."""
    model = {"model": replica.served_model_name}
    if replica.reranks:
        return "/v1/rerank", {**model, "query": "a", "documents": ["a"]}
    if replica.embeds:
        return "/v1/embeddings", {**model, "input": "a"}
    return "/v1/completions", {**model, "prompt": "a", "max_tokens": 1}
