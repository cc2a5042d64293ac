"""How many examples properties are tried with: few in `make check`, many in `make thorough`."""

from __future__ import annotations

from hypothesis import settings

USUAL = 40
THOROUGH = 400

# the same examples on every machine, however busy it is
settings.register_profile("atelier", derandomize=True, deadline=None, max_examples=USUAL)
settings.register_profile("thorough", deadline=None, max_examples=THOROUGH)


def examples(count: int) -> settings:
    """So many, and more of them in the thorough profile: for what takes long."""
    return settings(max_examples=count * settings().max_examples // USUAL)
