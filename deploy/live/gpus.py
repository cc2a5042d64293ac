"""The cards of a host and who uses them, asked of their drivers."""

from __future__ import annotations

import re
import shlex

from deploy.errors import HostError, Problem
from deploy.live.amd_cards import parse_amd
from deploy.live.apple_cards import parse_apple
from deploy.live.card import LiveCard
from deploy.live.nvidia_cards import CARD, PROCESS, parse_nvidia
from deploy.live.shell import run_once
from deploy.scripts import read_script
from deploy.spec import HostSpec

SCRIPT = "gpus.sh"


def read_cards(host: HostSpec) -> tuple[LiveCard, ...]:
    """The cards of a host, and who uses each.

    Raises:
        ConnectionFailedError: if the host cannot be reached.
        HostError: if it has no driver, that does not answer, or there is no card.
    """
    script = read_script(SCRIPT)
    words = ["sh", "-c", script, "atelier", ",".join(CARD), ",".join(PROCESS)]
    status, output = run_once(host, shlex.join(words))
    cards = () if status else parse_cards(output)
    if not cards:
        said = " ".join(line for line in output.splitlines() if not line.startswith("@"))
        said = said if status else "a processor's own graphics alone, or no card"
        fix = "see why, and what to do: atelier doctor INVENTORY"
        raise HostError(Problem(f"host {host.name}", f"GPUs: {said}", "a driver that answers", fix))
    return cards


def parse_cards(output: str) -> tuple[LiveCard, ...]:
    """What the script printed."""
    _, *parts = re.split(r"^@(\w+)\n", output, flags=re.MULTILINE)
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    return (*parse_nvidia(sections), *parse_amd(sections), *parse_apple(sections))
