"""The people of a load."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deploy.artefacts import Artefacts
from deploy.live.load.figures import Part
from deploy.live.load.parts import markers_of
from deploy.live.load.target import Target, characters_per_token
from deploy.live.load.workload import Person, Use


def make_people(
    artefacts: Artefacts, parts: Sequence[Part], target: Target, seed: int
) -> list[Person]:
    """Everybody who asks; each model is asked once before, how it counts tokens.

    Args:
        artefacts: the deployment.
        parts: who asks which model.
        target: where.
        seed: what all chance depends on.

    Raises:
        ServiceError: if a model does not answer, or refuses the key.
        httpx.HTTPError: if no one answers there.
    """
    return [person for part in parts for person in _people(artefacts, part, target, seed)]


def _people(artefacts: Artefacts, part: Part, target: Target, seed: int) -> Iterator[Person]:
    chats = part.shape.use is Use.CHATS
    per_token = characters_per_token(target, part.model, seed, chats=chats)
    markers = None if chats else markers_of(artefacts, part.model)
    for number in range(part.people):
        yield Person(number, seed, part.model, part.shape, markers, per_token)
