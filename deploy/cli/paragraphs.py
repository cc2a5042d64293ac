"""Text for people, wrapped for terminals of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from deploy.cli.output import console

WIDTH = 78


def print_text(text: str) -> None:
    """Print lines, each wrapped below its own indentation and two columns more."""
    for line in text.splitlines() or [""]:
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        wrapped = textwrap.fill(line, WIDTH, subsequent_indent=indent, break_on_hyphens=False)
        console.print(wrapped, markup=False, soft_wrap=True)


def print_list(title: str, texts: Iterable[str]) -> None:
    """Print a title and a list below it; nothing where the list is empty."""
    texts = list(texts)
    if texts:
        print_text(f"\n  {title}:")
    for text in texts:
        print_text(f"  - {text}")
