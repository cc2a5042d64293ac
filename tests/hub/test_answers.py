"""What an operator reads when the hub does not give what is asked for."""

from __future__ import annotations

import pytest

from deploy.hub import Answer, hub_problem, read_answer

URL = "https://huggingface.co"


def problem(answer: Answer, *, has_token: bool = False, viewpoint: str = "the host") -> str:
    found = hub_problem(answer, "lab/coder@v2", URL, viewpoint=viewpoint, has_token=has_token)
    return str(found) if found else ""


@pytest.mark.parametrize("status", [200, 206, 302, 307])
def test_a_file_or_where_it_is_will_do(status: int) -> None:
    assert problem(Answer(status)) == ""


@pytest.mark.parametrize(
    ("answer", "has_token", "message"),
    [
        (
            Answer(401, {"x-error-code": "GatedRepo"}),
            False,
            "weights lab/coder@v2: https://huggingface.co gives lab/coder only to people that its "
            "owner let in\n    fix: ask for access on https://huggingface.co/lab/coder, and declare"
            " secrets={'huggingface_token': Secret(env='HF_TOKEN')} of an account that has it",
        ),
        (Answer(403), True, "only to people that its owner let in"),
        (
            Answer(401, {"x-error-message": "Invalid credentials in Authorization header"}),
            True,
            "refuses the token",
        ),
        (
            Answer(404, {"x-error-code": "RevisionNotFound"}),
            False,
            "weights lab/coder@v2: lab/coder has no revision 'v2'\n"
            "    allowed: a branch, a tag or a commit",
        ),
        (
            Answer(401, {"x-error-code": "RepoNotFound"}),
            False,
            "has no repository lab/coder, or shows it only to its members\n"
            "    fix: check the name; or, if it is private, declare secrets=",
        ),
        (Answer(404, {"x-error-code": "RepoNotFound"}), True, "fix: check the name"),
        (Answer(429, {"retry-after": "300"}), False, "wants 300 s without any"),
        (Answer(503), False, "answers the host with status 503"),
        (
            Answer(failure="Could not resolve host: huggingface.co"),
            False,
            "does not answer the host: Could not resolve host: huggingface.co\n"
            "    fix: declare weights='copy' for the host",
        ),
        (
            Answer(failure="SSL certificate problem: unable to get local issuer certificate"),
            False,
            "let the host trust its authority (update-ca-certificates)",
        ),
    ],
)
def test_what_is_wrong_and_what_to_do(answer: Answer, has_token: bool, message: str) -> None:
    assert message in problem(answer, has_token=has_token)


def test_this_machine_may_be_the_one_with_no_way_out() -> None:
    said = problem(Answer(failure="timed out"), viewpoint="this machine")
    assert "does not answer this machine: timed out" in said
    assert "copy" not in said


def test_how_long_a_hub_wants_to_be_left_alone() -> None:
    assert Answer(429, {"retry-after": "7"}).retry_seconds == 7
    assert Answer(429, {"ratelimit": '"api";r=0;t=55'}).retry_seconds == 56
    assert Answer(429).retry_seconds == 30
    assert Answer(429, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}).retry_seconds == 30


def test_the_last_of_several_answers_counts() -> None:
    text = (
        "HTTP/1.1 307 Temporary Redirect\nLocation: /api/models/new/name\n\n"
        'HTTP/2 200\nX-Error-Code: none\nContent-Type: application/json\n\n{"sha": 1}'
    )
    answer = read_answer(text)
    assert (answer.status, answer.body) == (200, '{"sha": 1}')
    assert answer.headers["x-error-code"] == "none"


def test_no_answer_is_said() -> None:
    assert read_answer("failed curl: (6) Could not resolve host: hub").failure.endswith("host: hub")
    assert read_answer("").failure
    assert "no HTTP" in read_answer("garbage").failure
