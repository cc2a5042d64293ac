"""``atelier verify --privacy``: what is left of what people ask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.cli.output import console, error_console, print_json, print_table

if TYPE_CHECKING:
    from deploy.live.privacy.places import Place
    from deploy.live.privacy.silence import Silence

COLUMNS = ["where", "host", "searched", "found"]
REMEDIES = {
    ("litellm", "log"): "LiteLLM logs prompts where router.env has LITELLM_LOG=DEBUG or"
    " DETAILED_DEBUG: remove that",
    ("litellm", "database"): "LiteLLM keeps prompts where router.env has"
    " STORE_PROMPTS_IN_SPEND_LOGS: remove that",
    ("vllm", "log"): "vLLM logs prompts with --enable-log-requests, and with"
    " VLLM_LOGGING_LEVEL=DEBUG: remove these from engine.extra_args and engine.env",
    ("sglang", "log"): "SGLang logs prompts with --log-requests, and writes them into files with"
    " --crash-dump-folder: remove these from engine.extra_args",
    ("tensorrt_llm", "log"): "TensorRT-LLM writes no prompts unless told to write more: remove"
    " TLLM_LOG_LEVEL from engine.env and --log_level from engine.extra_args",
    ("tgi", "log"): "TGI logs prompts with LOG_LEVEL=debug: remove it from engine.env",
    ("llama_cpp", "log"): "llama.cpp logs prompts with --verbose and LLAMA_LOG_VERBOSITY: remove"
    " these from engine.extra_args and engine.env",
    ("ollama", "log"): "Ollama logs prompts with OLLAMA_DEBUG: remove it from engine.env",
    ("open-webui", "log"): "Open WebUI logs prompts with GLOBAL_LOG_LEVEL=DEBUG and"
    " AUDIT_LOG_LEVEL: remove these from web_ui.env",
    ("open-webui", "files"): "remove the file, and find out what writes it: Open WebUI does, into"
    " audit.log, where web_ui.env has AUDIT_LOG_LEVEL",
    ("postgres", "log"): "PostgreSQL logs values with log_statement and log_min_duration_statement:"
    " reset them with ALTER SYSTEM RESET",
    ("haproxy", "log"): "HAProxy logs what log-format and captures say: deploy again, which brings"
    " its own configuration back",
}
FILES = "remove the file, and find out which program writes it"
OTHERWISE = "deploy again; if it is found again, report it as a fault of Atelier's"


def verify_privacy(inventory: Path, *, as_json: bool) -> bool:
    """Ask and look; whether nothing was found that must not be there."""
    from deploy.cli.load import load_artefacts
    from deploy.live.privacy.silence import look_for_leaks

    artefacts = load_artefacts(inventory)
    with error_console.status("asking") as status:
        found = look_for_leaks(artefacts, status.update)
    if as_json:
        print_json(_to_json(found))
    else:
        _print(found, artefacts.plan.name)
    return found.ok


def _print(found: Silence, deployment: str) -> None:
    rows = [
        [f"{p.kind} {p.name.removeprefix(f'{deployment}-')}", p.host, p.amount, found_text(p)]
        for p in found.places
    ]
    print_table(f"{deployment}: what is left of what was asked", COLUMNS, rows)
    answered = sum(each.ended == "200" for each in found.asked)
    console.print(
        f"{len(found.asked)} marked requests were sent, {answered} of them were answered; the"
        " others failed as they should, or were cut off",
        markup=False,
    )
    for line in advice(found):
        console.print(line, markup=False, style="red")
    if found.ok:
        console.print("nothing of them is kept, except what is kept by design", style="green")


def found_text(place: Place) -> str:
    """In one cell."""
    parts = []
    if place.found:
        parts.append("FOUND: " + ", ".join(sorted({hit.what for hit in place.found})))
    if place.kept_by_design:
        parts.append("kept by design: chats")
    if place.problem:
        parts.append(place.problem)
    return "; ".join(parts) or "nothing"


def advice(found: Silence) -> Iterator[str]:
    """Where it was found, what, and how that is switched off."""
    for place in found.places:
        if not place.found:
            continue
        what = ", ".join(sorted({_hit_text(hit.what, hit.request) for hit in place.found})[:6])
        where = f" ({', '.join(place.where[:3])})" if place.where else ""
        yield f"{place.kind} {place.name} on {place.host}{where}: {what}"
        yield f"  fix: {remedy(place)}"


def remedy(place: Place) -> str:
    """How it is switched off."""
    otherwise = FILES if place.kind == "files" else OTHERWISE
    return REMEDIES.get((place.service, place.kind), otherwise)


def _hit_text(what: str, request: str) -> str:
    return f"{what} of {request}" if request else what


def _to_json(found: Silence) -> dict[str, Any]:
    return {
        "ok": found.ok,
        "asked": [asdict(each) for each in found.asked],
        "places": [
            {
                **vars(place),
                "ok": place.ok,
                "found": [asdict(hit) for hit in sorted(place.found)],
                "kept_by_design": [asdict(hit) for hit in sorted(place.kept_by_design)],
                "remedy": remedy(place) if place.found else "",
            }
            for place in found.places
        ],
    }
