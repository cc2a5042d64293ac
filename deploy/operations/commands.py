"""What an operation yields."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias

from pyinfra.api.command import PyinfraCommand

Commands: TypeAlias = Generator[PyinfraCommand, None, None]
"""The commands that bring a host into the wanted state; none if it is already."""
