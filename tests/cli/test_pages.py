"""Pages with diagrams: one file, no script, nothing loaded."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.run import run

SIZE = ("size", "qwen3.6-35b-a3b", "--gpus", "2x rtx-5090", "--quantization", "fp8", "--plot")
RECOMMEND = ("recommend", "--users", "3", "--saas-eur-per-million-tokens", "1", "--html")


@pytest.mark.parametrize(
    ("arguments", "diagrams"),
    # hardware is recommended for many numbers of users
    [(SIZE, 3), pytest.param(RECOMMEND, 2, marks=pytest.mark.slow)],
)
def test_a_page_is_self_contained(
    tmp_path: Path, arguments: tuple[str, ...], diagrams: int
) -> None:
    path = tmp_path / "page.html"
    run(*arguments, str(path))
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"<script|https?://|url\(|<img|<link", text)
    drawn = re.findall(r"<svg.*?</svg>", text)
    assert len(drawn) == diagrams
    for one in drawn:
        ElementTree.fromstring(one)  # noqa: S314  our own
        assert "nan" not in one


def test_where_nothing_fits_the_page_says_so(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    run("recommend", "--users", "20", "--budget", "100", "--html", str(path))
    assert "Nothing is enough." in path.read_text(encoding="utf-8")
