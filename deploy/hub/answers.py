"""What the hub answers, and what an operator does when it is not what was hoped for.

Codes and headers: ``hf_raise_for_status`` in
https://github.com/huggingface/huggingface_hub/blob/main/src/huggingface_hub/utils/_http.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from deploy.errors import Problem

TOO_MANY = 429
LONGEST_WAIT_SECONDS = 120
"""A hub that wants to be left alone for longer is not waited for."""
TOKEN = "declare secrets={'huggingface_token': Secret(env='HF_TOKEN')}"  # noqa: S105 - says where one is
SECONDS = re.compile(r"\d+")
LIMIT_RESETS = re.compile(r"\bt=(\d+)")


@dataclass(frozen=True)
class Answer:
    """One answer."""

    status: int = 0
    """HTTP status; 0 if there was no answer."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """By lower-case name."""
    body: str = ""
    failure: str = ""
    """Why there was no answer."""

    @property
    def is_good(self) -> bool:
        """Whether it is what was asked for, or says where that is."""
        return 200 <= self.status < 400

    @property
    def retry_seconds(self) -> int:
        """How long the hub wants to be left alone, of one that limits requests.

        By Retry-After, or by what is left of its window (``ratelimit: "api";r=0;t=55``).
        """
        said = self.headers.get("retry-after", "").strip()
        if SECONDS.fullmatch(said):
            return int(said)
        reset = LIMIT_RESETS.search(self.headers.get("ratelimit", ""))
        return int(reset[1]) + 1 if reset else 30


def read_answer(text: str) -> Answer:
    """What ``curl --include`` prints: the last answer, where there were redirects.

    A line that starts with ``failed`` says why there was none.
    """
    if text.startswith("failed"):
        return Answer(failure=text.removeprefix("failed").strip() or "no answer")
    head, _, body = text.partition("\n\n")
    while body.startswith("HTTP/") and _status(head) // 100 in {1, 3}:
        head, _, body = body.partition("\n\n")
    rows = [line.partition(":") for line in head.splitlines()[1:]]
    headers = {name.strip().lower(): value.strip() for name, _, value in rows}
    status = _status(head)
    return Answer(status, headers, body, "" if status else f"no HTTP: {head[:80]!r}")


def hub_problem(
    answer: Answer, what: str, endpoint: str, *, viewpoint: str, has_token: bool
) -> Problem | None:
    """Why a repository cannot be fetched; ``None`` if it can.

    Args:
        answer: what the hub said.
        what: the repository and revision, e.g. ``Qwen/Qwen3-8B@main``.
        endpoint: where the hub is.
        viewpoint: who asked, e.g. ``the host``.
        has_token: whether a token is declared.
    """
    name, path = what.rpartition("@")[0], f"weights {what}"
    code = answer.headers.get("x-error-code", "")
    if answer.is_good:
        return None
    if answer.failure:
        return unreachable(answer.failure, path, endpoint, viewpoint)
    if code == "GatedRepo" or answer.status == 403:
        found = f"{endpoint} gives {name} only to people that its owner let in"
        fix = f"ask for access on {endpoint}/{name}, and {TOKEN} of an account that has it"
        return Problem(path, found, fix=fix)
    if "Invalid credentials" in answer.headers.get("x-error-message", "") or (
        answer.status == 401 and has_token and code != "RepoNotFound"
    ):
        return Problem(path, f"{endpoint} refuses the token", "a token that may read", TOKEN)
    if code == "RevisionNotFound":
        found = f"{name} has no revision {what.rpartition('@')[2]!r}"
        return Problem(path, found, "a branch, a tag or a commit", f"see {endpoint}/{name}/commits")
    if code == "RepoNotFound" or answer.status in {401, 404}:
        found = f"{endpoint} has no repository {name}, or shows it only to its members"
        fix = "check the name" if has_token else f"check the name; or, if it is private, {TOKEN}"
        return Problem(path, found, fix=fix)
    if answer.status == TOO_MANY:
        found = f"{endpoint} limits requests, and wants {answer.retry_seconds} s without any"
        fix = (
            "run it again then"
            if has_token
            else f"run it again then, or {TOKEN}: its limit is higher"
        )
        return Problem(path, found, fix=fix)
    return Problem(
        path,
        f"{endpoint} answers {viewpoint} with status {answer.status}",
        fix="run it again later",
    )


def unreachable(failure: str, path: str, endpoint: str, viewpoint: str) -> Problem:
    """The problem where nothing answered.

    Args:
        failure: what curl, Python or httpx said.
        path: what was asked for.
        endpoint: where the hub is.
        viewpoint: who asked, e.g. ``the host``.
    """
    found = f"{endpoint} does not answer {viewpoint}: {failure}"
    if re.search(r"certificate|SSL|TLS", failure, re.IGNORECASE):
        fix = (
            f"something between here and there has a certificate of its own: let {viewpoint} trust"
            " its authority (update-ca-certificates); Atelier's downloads trust what that trusts"
        )
        return Problem(path, found, fix=fix)
    if viewpoint == "this machine":
        fix = (
            "give this machine a way out (HTTPS_PROXY), declare huggingface_endpoint with a mirror,"
        )
        return Problem(path, found, fix=f"{fix} or weights with a directory of the host")
    fix = (
        "declare weights='copy' for the host (this machine fetches and copies them), "
        "huggingface_endpoint with a mirror, or engine.env with HTTPS_PROXY"
    )
    return Problem(path, found, fix=fix)


def _status(head: str) -> int:
    parts = head.split(maxsplit=2)
    return (
        int(parts[1])
        if len(parts) > 1 and parts[0].startswith("HTTP/") and parts[1].isdigit()
        else 0
    )
