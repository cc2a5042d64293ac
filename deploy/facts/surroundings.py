"""What a host reaches: names and registries."""

from __future__ import annotations

import shlex
from urllib.parse import urlsplit

from pyinfra.api import FactBase

from deploy.facts.sections import split_sections
from deploy.hosts.state import Surroundings as State

TIMEOUT_SECONDS = 8
CURL = f"curl -s -o /dev/null -m {TIMEOUT_SECONDS} -w '%{{http_code}}'"
PYTHON = f"""
import sys, urllib.error, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout={TIMEOUT_SECONDS}).status)
except urllib.error.HTTPError as error:
    print(error.code)
except Exception as error:
    print(error)
""".strip()


def _resolve(name: str) -> str:
    """Shell: whether a name, quoted, has an address; macOS has no getent."""
    return (
        f"if command -v getent >/dev/null; then getent hosts {name} >/dev/null; "
        f"else dscacheutil -q host -a name {name} 2>/dev/null | grep -q .; fi"
    )


class Surroundings(FactBase[State]):
    """Whether names have addresses there, and what answers under URLs."""

    def command(self, urls: tuple[str, ...], names: tuple[str, ...] = ()) -> str:
        """Print a line for each name and URL; with curl, with Python, or not at all.

        Args:
            urls: what is asked.
            names: what must have an address, besides the hosts of URLs.
        """
        asked = sorted({*names, *(urlsplit(url).hostname or "" for url in urls)})
        lines = ["echo '@resolved'"]
        for name in map(shlex.quote, asked):
            lines.append(f"{{ {_resolve(name)}; }} && echo yes {name} || echo no {name}")
        lines.append("echo '@reached'")
        for url in map(shlex.quote, urls):
            lines.append(
                f'if command -v curl >/dev/null; then a=$({CURL} {url} || echo " curl error $?"); '
                "elif command -v python3 >/dev/null; then "
                f"a=$(python3 -c {shlex.quote(PYTHON)} {url}); "
                f'else a="neither curl nor python3 is there to ask with"; fi; echo {url} "$a"'
            )
        return "; ".join([*lines, "true"])

    @staticmethod
    def default() -> State:
        """Nothing was asked."""
        return State()

    def process(self, output: list[str]) -> State:
        """Parse the lines."""
        sections = split_sections(output)
        resolved = [line.split(maxsplit=1) for line in sections.get("resolved", [])]
        reached = [line.split(maxsplit=1) for line in sections.get("reached", [])]
        return State(
            resolved={name: answer == "yes" for answer, name in resolved},
            reached={row[0]: " ".join(row[1:]).removeprefix("000 ").strip() for row in reached},
        )
