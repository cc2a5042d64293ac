"""The best that each piece of hardware can do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from deploy.catalog import Catalog
from deploy.recommend.candidates import Candidate
from deploy.recommend.choose import benefit, most_benefit
from deploy.recommend.evaluate import Loss, Option, evaluate, room
from deploy.recommend.hardware import Hardware
from deploy.recommend.request import RecommendRequest, counted


@dataclass(frozen=True)
class Failure:
    """Hardware on which no model serves all users, and the model that came nearest."""

    hardware: Hardware
    candidate: Candidate | None
    loss: Loss

    @property
    def text(self) -> str:
        """Why it will not do."""
        if self.candidate is None:
            return self.loss.reason
        return f"{self.candidate.text}: {self.loss.reason}"


@dataclass
class Search:
    """A search, remembering what equal machines did."""

    request: RecommendRequest
    catalog: Catalog
    candidates: list[Candidate]

    def __post_init__(self) -> None:
        self._best: dict[tuple[tuple[str, ...], int], Option | Failure] = {}

    def best(self, hardware: Hardware) -> Option | Failure:
        """The model of most benefit that serves all users there."""
        key = (hardware.gpus, hardware.machines)
        if key not in self._best:
            self._best[key] = best_of(hardware, self.candidates, self.request, self.catalog)
        found = self._best[key]
        if isinstance(found, Failure):
            return Failure(hardware, found.candidate, found.loss)
        return replace(found, hardware=hardware)

    def of_each_model(self, hardware: Hardware) -> list[Option | Failure]:
        """The same for every model on its own."""
        names = dict.fromkeys(candidate.model for candidate in self.candidates)
        groups = ([c for c in self.candidates if c.model == name] for name in names)
        return [best_of(hardware, group, self.request, self.catalog) for group in groups]


def best_of(
    hardware: Hardware,
    candidates: Iterable[Candidate],
    request: RecommendRequest,
    catalog: Catalog,
) -> Option | Failure:
    """The one of most benefit that serves all users, given the strongest first."""
    found: list[Option] = []
    gain = 0.0
    failure = Failure(hardware, None, Loss("there is no model to serve"))
    for candidate in candidates:
        if found and most_benefit(candidate.strength, request) <= gain:
            break
        result = _evaluated(hardware, candidate, request, catalog)
        if isinstance(result, Option):
            found.append(result)
            gain = max(gain, benefit(result, request))
        elif failure.candidate is None or result.users_served >= failure.loss.users_served:
            failure = Failure(hardware, candidate, result)
    if not found:
        return failure
    return max(found, key=lambda option: (benefit(option, request), option.users_served))


def _evaluated(
    hardware: Hardware, candidate: Candidate, request: RecommendRequest, catalog: Catalog
) -> Option | Loss:
    """Sized only where memory could hold all users at all."""
    if request.context > candidate.declared.architecture.max_position_embeddings:
        return evaluate(hardware, candidate, request, catalog)
    most = room(hardware, candidate, request.context, catalog)
    if 0 < most < request.users:
        return Loss(f"memory for {most} of {counted(request.users)} at the very most", most)
    return evaluate(hardware, candidate, request, catalog)
