"""From what an operator types to the GPUs of the catalogue."""

from __future__ import annotations

import difflib
import re
from functools import cache

from deploy.catalog.catalog import Catalog, load_catalog
from deploy.errors import Problem, SpecError, either

EXAMPLES = "'2x l40s', 'l40s' or '1x l40s, 2x rtx-3090', with the names that 'atelier gpus' lists"
MAX_COUNT = 1024
TIMES = "\u00d7"
COUNTED = re.compile(rf"(?:(?P<count>\d+)\s*[x*{TIMES}]\s*)?(?P<name>\S.*)", re.IGNORECASE)
MEMORY_SIZE = re.compile(r"^(\d+)(?:g|gb|gib)$")
BRANDS = {"nvidia", "geforce", "tesla", "quadro", "amd", "radeon", "instinct", "apple", "gpu"}
UNITS = {"g", "gb", "gib"}


def find_gpu(catalog: Catalog, text: str) -> str:
    """The id of a GPU, from its id, a usual spelling of it, or what ``nvidia-smi`` calls it.

    Raises:
        SpecError: if it is not in the catalogue.
    """
    spellings = _spellings(catalog)
    found = spellings.get(_plain(text))
    if found is None:
        raise SpecError(_unknown(text, list(catalog.gpus), spellings))
    return found


def parse_gpus(text: str, catalog: Catalog | None = None) -> tuple[str, ...]:
    """The ids of the GPUs in a text such as ``2x l40s`` or ``1x l40s, 2x rtx-3090``.

    Args:
        text: names, each with the count before it; one by default.
        catalog: where they are looked up; this installation's own by default.

    Raises:
        SpecError: if the text has another form, or names a GPU that is not in the catalogue.
    """
    catalog = catalog or load_catalog()
    ids: list[str] = []
    for part in re.split(r"[,+]", text):
        match = COUNTED.fullmatch(part.strip())
        if match is None:
            raise SpecError(Problem("gpus", repr(text), EXAMPLES))
        count = int(match["count"] or 1)
        if not 1 <= count <= MAX_COUNT:
            raise SpecError(Problem("gpus", f"{count} in {text!r}", f"1 to {MAX_COUNT} of each"))
        ids += [find_gpu(catalog, match["name"])] * count
    return tuple(ids)


@cache
def _spellings(catalog: Catalog) -> dict[str, str]:
    spellings: dict[str, str] = {}
    for gpu_id, gpu in catalog.gpus.items():
        for spelling in (gpu_id, gpu.name, *gpu.aliases):
            spellings[_plain(spelling)] = gpu_id
    return spellings


def _plain(text: str) -> str:
    """A spelling without case, punctuation, brand and the unit of the memory size."""
    words = [word for word in re.split(r"[^a-z0-9]+", text.lower()) if word]
    words = [word for word in words if word not in BRANDS | UNITS]
    return "".join(MEMORY_SIZE.sub(r"\1", word) for word in words)


def _unknown(text: str, ids: list[str], spellings: dict[str, str]) -> Problem:
    matches = difflib.get_close_matches(_plain(text), list(spellings), n=3)
    suggestions = list(dict.fromkeys(spellings[match] for match in matches))
    fix = f"did you mean {either(map(repr, suggestions))}?" if suggestions else "see 'atelier gpus'"
    return Problem("gpus", f"{text.strip()!r} is not in the catalogue", ", ".join(ids), fix)
