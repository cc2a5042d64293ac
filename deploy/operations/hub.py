"""What the hub has of the weights that a host lacks; each host asks once in a run."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pyinfra import host

from deploy.errors import Problem
from deploy.facts import look
from deploy.facts.weights import HubAnswer, Weights, WeightsState
from deploy.hosts.finding import Finding
from deploy.hosts.room import Need
from deploy.hosts.state import Place
from deploy.hosts.subject import Subject
from deploy.hub import Answer, HubFile, Listing, hub_problem, needed_files, parse_listing
from deploy.hub.answers import LONGEST_WAIT_SECONDS, TOO_MANY
from deploy.hub.choose import has_weights
from deploy.hub.listing import COMMIT, file_url, listing_url
from deploy.operations.questions import by_cache
from deploy.operations.unshown import Unshown
from deploy.secrets import SecretStore
from deploy.services import HostWeights
from deploy.spec import SecretName, SecretText
from deploy.units import MB

ASKED = "atelier_hub"
"""Where a host's answers are kept, in what pyinfra keeps of the host."""
CANNOT_ASK = "neither curl nor python3"
TIMES = 3
Key = tuple[str, str, str]
"""Endpoint, repository and revision."""
_commits: dict[Key, str] = {}
"""What branches stand for in this run: the same commit on every host."""
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Hub:
    """Who asks the hub about weights, and how."""

    weights: HostWeights
    secrets: SecretStore
    from_host: bool

    @property
    def token(self) -> str:
        """The token, if one is declared."""
        return self.secrets.declared(SecretName.HUGGINGFACE_TOKEN)

    @property
    def viewpoint(self) -> str:
        """Who asks."""
        return "the host" if self.from_host else "this machine"

    def ask(self, method: str, url: str) -> Answer:
        """The hub's answer; one that limits requests is waited for."""
        for _ in range(TIMES):
            answer = self._ask_once(method, url)
            if answer.status != TOO_MANY or answer.retry_seconds > LONGEST_WAIT_SECONDS:
                break
            host.log(f"{self.weights.endpoint} limits requests, waiting {answer.retry_seconds} s")
            time.sleep(answer.retry_seconds)
        return answer

    def problem(self, answer: Answer) -> Problem | None:
        """What is wrong with an answer."""
        name, endpoint = self.weights.name, self.weights.endpoint
        token = bool(self.token)
        return hub_problem(answer, name, endpoint, viewpoint=self.viewpoint, has_token=token)

    def _ask_once(self, method: str, url: str) -> Answer:
        if not self.from_host:
            # with a client of HTTP, which most runs need not import
            from deploy.hub.here import ask

            return ask(method, url, self.token)
        lines = [self.token, *(f"{name}={value}" for name, value in environment(self).items())]
        stdin = Unshown(lines)
        answer: Answer = host.get_fact(HubAnswer, method=method, url=url, _stdin=stdin)
        return answer


def environment(hub: Hub) -> Mapping[str, str]:
    """Variables that say how the hub is reached, with the secrets in them."""
    return {
        name: hub.secrets.render(value) if isinstance(value, SecretText) else value
        for name, value in hub.weights.environment.items()
    }


def state_of(weights: HostWeights, on_host: Iterable[HostWeights]) -> WeightsState:
    """What the current host has of some weights.

    Args:
        weights: which.
        on_host: everything that it must have: one look answers it all.
    """
    cache = str(weights.cache)
    found = look.ask(Weights, cache=cache, wanted=by_cache(on_host)[cache])
    return found.get((weights.repository, weights.revision), WeightsState())


def remember_commits(known: Iterable[Mapping[Key, str]]) -> None:
    """Say what branches stand for on hosts that have them: the others get the same."""
    for commits in known:
        for key, commit in commits.items():
            _commits.setdefault(key, commit)


def commits_here(on_host: tuple[HostWeights, ...]) -> dict[Key, str]:
    """What branches stand for on the current host."""
    states = {_key(each): state_of(each, on_host) for each in on_host}
    return {key: state.commit for key, state in states.items() if state.commit}


def listing_of(
    weights: HostWeights, found: WeightsState, secrets: SecretStore
) -> Listing | Problem:
    """The files that an engine needs, and that this host may have; or why it may not.

    A branch is what it was when it came to this host, or to another one of the deployment.

    Args:
        weights: what the host must have.
        found: what it has.
        secrets: with the token in them.
    """
    answers: dict[Key, Listing | Problem] = host.connector_data.setdefault(ASKED, {})
    key = _key(weights)
    if key not in answers:
        with _one_at_a_time:
            answers[key] = _listing(weights, found, secrets)
    return answers[key]


def forget() -> None:
    """Ask anew what branches stand for; in tests."""
    _commits.clear()


def weights_findings(subject: Subject, secrets: SecretStore) -> Iterator[Finding | Need]:
    """What is to be said about weights that are still to come, and the room that they need."""
    on_host = subject.weights
    for weights in on_host:
        found = state_of(weights, on_host)
        if found.is_complete(weights.revision):
            continue
        listing = listing_of(weights, found, secrets)
        if isinstance(listing, Problem):
            yield Finding(listing.path, "problem", listing.found, listing.allowed, listing.fix)
            continue
        missing = listing.size_bytes - found.there_bytes(listing.files)
        text = f"{weights.name} is {listing.commit[:12]}: {missing / MB:.0f} MB to {weights.source}"
        yield Finding("weights", "ok", text)
        if weights.source == "copy":
            yield from _room_here(weights, [f for f in listing.files if not found.has(f)])
        own = weights.cache.is_relative_to(subject.spec.directory)
        place: Place = "directory" if own else "weights"
        yield Need(f"weights of {weights.repository}", place, missing)


def _room_here(weights: HostWeights, files: list[HubFile]) -> Iterator[Finding]:
    """A problem if this machine has no room for what it is to fetch."""
    from deploy.hub.here import room_here

    needed, free = room_here(files)
    if needed > free:
        yield Finding(
            f"weights {weights.name}",
            "problem",
            f"this machine fetches {needed / MB:.0f} MB for the host, and has {free / MB:.0f} MB",
            "room for what is copied from here",
            "free some, set XDG_CACHE_HOME to a larger disk, or remove ~/.cache/atelier/weights",
        )


def moved_findings(on_host: tuple[HostWeights, ...], secrets: SecretStore) -> Iterator[Finding]:
    """Branches that moved on since their weights came: they are not followed by themselves."""
    for weights in on_host:
        found = state_of(weights, on_host)
        if not found.is_complete(weights.revision):
            continue
        if COMMIT.fullmatch(weights.revision):
            yield Finding("weights", "ok", f"{weights.name} is there")
            continue
        newest = _newest(weights, secrets)
        here = f"{weights.name} is there as {found.commit[:12]}"
        if isinstance(newest, Problem):
            yield Finding("weights", "ok", f"{here}; whether it moved on is not known")
        elif newest.commit == found.commit:
            yield Finding("weights", "ok", f"{here}, the newest")
        else:
            yield Finding(
                "weights",
                "warning",
                f"{here}; the hub has {newest.commit[:12]} by now",
                fix=f"for the newer one declare weights={weights.repository}@{newest.commit}",
            )


def _listing(weights: HostWeights, found: WeightsState, secrets: SecretStore) -> Listing | Problem:
    revision = found.commit or _commits.get(_key(weights)) or weights.revision
    hub = _hub(weights, secrets)
    url = listing_url(weights.endpoint, weights.repository, revision)
    answer = hub.ask("GET", url)
    if CANNOT_ASK in answer.failure:
        hub = Hub(weights, secrets, from_host=False)
        answer = hub.ask("GET", url)
    listing = _read(hub, answer)
    if isinstance(listing, Problem):
        return listing
    files = needed_files(listing.files, weights.load_format)
    if not has_weights(files):
        found_text = f"{weights.repository} has no weights that vLLM or SGLang loads"
        allowed = "safetensors, .bin or .pt files"
        return Problem(f"weights {weights.name}", found_text, allowed, "declare another repository")
    # a gated repository is listed to everybody, and its files are not given
    largest = max(files, key=_size)
    given = hub.ask(
        "HEAD", file_url(weights.endpoint, weights.repository, listing.commit, largest.path)
    )
    problem = hub.problem(given)
    if problem:
        return problem
    _commits[_key(weights)] = listing.commit
    return Listing(weights.repository, listing.commit, files)


def _newest(weights: HostWeights, secrets: SecretStore) -> Listing | Problem:
    hub = _hub(weights, secrets)
    url = listing_url(weights.endpoint, weights.repository, weights.revision)
    return _read(hub, hub.ask("GET", url))


def _hub(weights: HostWeights, secrets: SecretStore) -> Hub:
    return Hub(weights, secrets, from_host=weights.source == "download")


def _read(hub: Hub, answer: Answer) -> Listing | Problem:
    problem = hub.problem(answer)
    if problem:
        return problem
    try:
        return parse_listing(hub.weights.repository, answer.body)
    except (ValueError, KeyError, TypeError) as error:
        found = f"{hub.weights.endpoint} answers, but not as Hugging Face does ({error})"
        fix = "check huggingface_endpoint; a proxy that asks for a login answers so, too"
        return Problem(f"weights {hub.weights.name}", found, fix=fix)


def _key(weights: HostWeights) -> Key:
    return weights.endpoint, weights.repository, weights.revision


def _size(file: HubFile) -> int:
    return file.size_bytes
