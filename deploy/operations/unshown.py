"""Secrets on the standard input of facts, which pyinfra shows with what they are asked."""

from __future__ import annotations


class Unshown(list[str]):
    """Lines for standard input that pyinfra must not print: it shows what facts are asked with."""

    def __repr__(self) -> str:
        """Nothing of them."""
        return "(not shown)"

    __str__ = __repr__
