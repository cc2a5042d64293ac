"""Day-2 reads, from a made-up container engine and real HTTP servers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import ThreadingHTTPServer
from typing import Any

import pytest
from docker.errors import DockerException
from paramiko import SSHException

from deploy.artefacts import Artefacts
from deploy.endpoints import router_url, web_ui_url
from deploy.errors import ConnectionFailedError, ServiceError
from deploy.live import checks, ready
from deploy.live.connection import connect, container_address
from deploy.live.inspect import parse_spec, parse_time
from deploy.live.logs import find_unit, read_logs
from deploy.live.status import read_status
from tests.conftest import MakeArtefacts, declare
from tests.live.fake_engine import USED_BYTES, running, use
from tests.live.test_admin_password import WRONG
from tests.serving import QuietHandler
from tests.serving import running as served

ROUTER = "demo-litellm-0"


# status


def test_everything_runs_as_planned(demo: Artefacts, monkeypatch: pytest.MonkeyPatch) -> None:
    use(running(demo), monkeypatch, "deploy.live.status")
    services = list(read_status(demo))
    assert [service.service for service in services] == [
        "demo-llama-cpp-tiny-coder-0",
        ROUTER,
        "demo-open-webui-0",
    ]
    assert all(service.ok for service in services)
    router = services[1]
    assert (router.url, router.drift) == ("http://127.0.0.1:4000", ())
    assert (router.memory_bytes, router.memory_limit_bytes) == (USED_BYTES, 2 * 1024**3)


def test_uptime(demo: Artefacts, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = running(demo)
    started = datetime.now(UTC) - timedelta(minutes=5)
    state = engine.running[ROUTER].attrs["State"]
    state["StartedAt"] = started.strftime("%Y-%m-%dT%H:%M:%S.123456789Z")
    use(engine, monkeypatch, "deploy.live.status")
    router = list(read_status(demo))[1]
    assert 299 <= router.uptime_seconds <= 310


def test_an_absent_service(demo: Artefacts, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = running(demo)
    del engine.running[ROUTER]
    use(engine, monkeypatch, "deploy.live.status")
    router = list(read_status(demo))[1]
    assert (router.state, router.drift, router.ok) == ("absent", ("container",), False)


@pytest.mark.parametrize(
    ("state", "health", "ok"),
    [
        ("running", "healthy", True),
        ("running", "starting", False),
        ("running", "unhealthy", False),
        ("exited", "healthy", False),
    ],
)
def test_only_healthy_is_ok(
    demo: Artefacts, monkeypatch: pytest.MonkeyPatch, state: str, health: str, ok: bool
) -> None:
    engine = running(demo)
    engine.running[ROUTER].attrs["State"] |= {"Status": state, "Health": {"Status": health}}
    use(engine, monkeypatch, "deploy.live.status")
    router = list(read_status(demo))[1]
    assert (router.state, router.health, router.ok) == (state, health, ok)
    assert (router.memory_bytes > 0) is (state == "running")


def test_drift_is_named(make: MakeArtefacts, monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = make(), make(router={"port": 4001, "memory_limit": "1GiB"})
    engine = running(before)
    engine.images_by_reference.clear()
    use(engine, monkeypatch, "deploy.live.status")
    router = list(read_status(after))[1]
    # the hooks are told the limit, too
    hooks = "mounts./etc/litellm.source"
    assert router.drift == ("memory_bytes", hooks, "ports[0].host_port", "live image id")
    assert not router.ok


def test_a_host_that_is_down_does_not_hide_the_others(
    make: MakeArtefacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = [{"name": "h1", "address": "10.0.0.1"}, {"name": "h2", "address": "10.0.0.2"}]
    artefacts = make(hosts=hosts, models=[{"name": "tiny-coder", "replicas": 2}])
    use(running(artefacts), monkeypatch, "deploy.live.status", down={"h2"})
    states = {service.service: service.state for service in read_status(artefacts)}
    assert states == {
        "demo-llama-cpp-tiny-coder-0": "running",
        "demo-llama-cpp-tiny-coder-1": "unreachable",
        "demo-link-server-h2-0": "unreachable",
        "demo-listener-server-h2-0": "unreachable",
        "demo-listener-client-0": "running",
        "demo-link-client-0": "running",
        ROUTER: "running",
        "demo-open-webui-0": "running",
    }
    use(running(artefacts), monkeypatch, "deploy.live.status", down={"h1", "h2"})
    with pytest.raises(ConnectionFailedError, match="h1") as refused:
        list(read_status(artefacts))
    assert "h2" in str(refused.value)


@pytest.mark.parametrize(
    ("timestamp", "seconds"),
    [
        ("0001-01-01T00:00:00Z", 0),
        ("1970-01-01T00:01:00.999999999Z", 60),
        ("1970-01-02T00:00:00Z", 86400),
    ],
)
def test_times_of_the_engine(timestamp: str, seconds: float) -> None:
    assert parse_time(timestamp) == seconds


@pytest.mark.parametrize("label", [None, "", "{", "[]", '"x"'])
def test_labels_that_say_nothing(label: str | None) -> None:
    assert parse_spec(label) is None


# logs


@pytest.mark.parametrize(
    ("service", "name"),
    [(ROUTER, ROUTER), ("litellm", ROUTER), ("web", "demo-open-webui-0"), ("tiny", "llama-cpp")],
)
def test_a_part_of_a_name_is_enough(demo: Artefacts, service: str, name: str) -> None:
    assert name in find_unit(demo, service).container.name


@pytest.mark.parametrize(
    ("service", "found"),
    [
        ("-0", "'-0' is in demo-llama-cpp-tiny-coder-0, demo-litellm-0, demo-open-webui-0"),
        ("vllm", "no service 'vllm'"),
    ],
)
def test_a_name_must_mean_one_service(demo: Artefacts, service: str, found: str) -> None:
    with pytest.raises(ServiceError) as refused:
        find_unit(demo, service)
    assert str(refused.value) == (
        f"service: {found}\n"
        "    allowed: demo-llama-cpp-tiny-coder-0, demo-litellm-0, demo-open-webui-0"
    )


@pytest.mark.parametrize("follow", [False, True])
def test_logs_are_redacted_wherever_chunks_end(
    demo: Artefacts, monkeypatch: pytest.MonkeyPatch, follow: bool
) -> None:
    engine = running(demo)
    engine.running[ROUTER].log = b"one\nkey sk-leaked-router-master refused\n\xff last"
    use(engine, monkeypatch, "deploy.live.logs")
    unit = find_unit(demo, "litellm")
    lines = list(read_logs(demo, unit, tail=2, follow=follow))
    assert lines == ["key <router_master_key> refused", "\N{REPLACEMENT CHARACTER} last"]


def test_logs_of_a_container_that_is_not_there(
    demo: Artefacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = running(demo)
    engine.running.clear()
    use(engine, monkeypatch, "deploy.live.logs")
    with pytest.raises(ServiceError, match=f"{ROUTER}: there is no such container"):
        list(read_logs(demo, find_unit(demo, "litellm"), tail=1, follow=False))


# connections and addresses


def test_a_host_without_ssh_says_nothing_of_its_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise SSHException("Error reading SSH protocol banner")

    monkeypatch.setattr("deploy.live.connection.log_in", refuse)
    [host] = declare(hosts=[{"name": "far", "address": "10.0.0.9"}]).hosts
    with pytest.raises(ConnectionFailedError) as refused, connect(host):
        pass
    said = str(refused.value)
    assert said.startswith(
        "host far: cannot be reached over SSH: Error reading SSH protocol banner"
    )
    assert "Docker" not in said


def test_an_engine_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise DockerException("connection refused")

    monkeypatch.setattr("docker.from_env", refuse)
    with pytest.raises(ConnectionFailedError) as refused, connect(declare().hosts[0]):
        pass
    assert str(refused.value) == (
        "host @local: Docker of this machine does not answer: connection refused\n"
        "    fix: check that Docker runs there and that this user may use it"
    )
    known = {ROUTER: {"demo": "172.18.0.3"}}
    with connect(declare().hosts[0], addresses=known) as connection:
        assert container_address(connection, ROUTER, "demo") == "172.18.0.3"
        with pytest.raises(ConnectionFailedError):
            container_address(connection, "demo-open-webui-0", "demo")


@pytest.mark.parametrize(
    ("host", "listen", "url"),
    [
        ({"name": "@local"}, "127.0.0.1", "http://127.0.0.1:4000"),
        ({"name": "@local"}, "0.0.0.0", "http://127.0.0.1:4000"),  # noqa: S104
        ({"name": "gpu1"}, "0.0.0.0", "http://gpu1:4000"),  # noqa: S104
        ({"name": "gpu1", "address": "10.0.0.1"}, "0.0.0.0", "http://10.0.0.1:4000"),  # noqa: S104
        ({"name": "gpu1"}, "10.0.0.9", "http://10.0.0.9:4000"),
    ],
)
def test_addresses(make: MakeArtefacts, host: dict[str, str], listen: str, url: str) -> None:
    assert router_url(make(hosts=[host], router={"listen": listen})) == url


def test_the_web_uis_address(make: MakeArtefacts) -> None:
    assert web_ui_url(make()) == "http://127.0.0.1:3000"
    assert web_ui_url(make(web_ui={"url": "https://chat.lab"})) == "https://chat.lab"
    assert web_ui_url(make(web_ui=None)) is None


# questions to services

Answer = Callable[[str, dict[str, str], dict[str, Any]], tuple[int, str]]
Serve = Callable[[Answer], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server that answers each request with what a function says; gives its address."""
    with ExitStack() as servers:
        yield partial(_serve, servers)


def _serve(servers: ExitStack, answer: Answer) -> str:
    class Handler(QuietHandler):
        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            size = int(self.headers["Content-Length"] or 0)
            body = json.loads(self.rfile.read(size)) if size else {}
            status, text = answer(self.path, dict(self.headers), body)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

    server = servers.enter_context(served(ThreadingHTTPServer(("127.0.0.1", 0), Handler)))
    return f"http://127.0.0.1:{server.server_address[1]}"


def completion(text: str) -> str:
    return json.dumps({"choices": [{"text": text}]})


def test_a_completion(serve: Serve) -> None:
    asked: list[Any] = []

    def answer(path: str, headers: dict[str, str], body: dict[str, Any]) -> tuple[int, str]:
        asked.append((path, headers["Authorization"], body["prompt"], body["model"]))
        return 200, completion("\n    a, b = 0, 1")

    said = checks.complete(serve(answer), "sk-key", "tiny", "a, b")
    assert said == "answered 'a, b = 0, 1'"
    assert asked == [("/v1/completions", "Bearer sk-key", "def fib(n):", "tiny")]


@pytest.mark.parametrize(
    ("status", "text", "message"),
    [
        (200, completion(" "), "tiny: answered ' '"),
        (200, completion("nonsense"), "tiny: answered 'nonsense'\n    allowed: a, b"),
        (401, "bad key", "/v1/completions: HTTP 401: bad key"),
        # Aristote loses the status of the engine
        (200, '{"error": {"code": 400}}', "/v1/completions: HTTP 200 with an error: {'code': 400}"),
        (200, '{"error": "busy"}', "/v1/completions: HTTP 200 with an error: busy"),
        (
            200,
            '{"object": "error", "message": "too long"}',
            "/v1/completions: HTTP 200 with an error: too long",
        ),
    ],
)
def test_completions_that_are_not_believed(
    serve: Serve, status: int, text: str, message: str
) -> None:
    url = serve(lambda *_: (status, text))
    with pytest.raises(ServiceError) as refused:
        checks.complete(url, "sk-key", "tiny", "a, b")
    assert str(refused.value).startswith(message)


def ranked(*scores: float) -> str:
    rows = [{"index": index, "relevance_score": score} for index, score in enumerate(scores)]
    return json.dumps({"results": rows[::-1]})


def test_documents_are_ranked(serve: Serve) -> None:
    url = serve(lambda *_: (200, ranked(0.75, 0.125)))
    assert checks.rerank(url, "sk-key", "judge") == "answered 0.750 and 0.125"


@pytest.mark.parametrize("scores", [(), (0.5,), (0.5, 0.25, 0.125)])
def test_ranks_that_are_not_believed(serve: Serve, scores: tuple[float, ...]) -> None:
    url = serve(lambda *_: (200, ranked(*scores)))
    with pytest.raises(ServiceError, match=f"judge: {len(scores)} scores"):
        checks.rerank(url, "sk-key", "judge")


def events(*texts: str) -> str:
    rows = [json.dumps({"choices": [{"delta": {"content": text}}]}) for text in texts]
    return "".join(f"data: {row}\n\n" for row in rows)


def test_a_streamed_chat(serve: Serve) -> None:
    url = serve(lambda *_: (200, events("po", "ng") + "data: [DONE]\n\n"))
    assert checks.stream_chat(url, "sk-key", "tiny") == "answered 'pong' (2 events)"


def test_a_streamed_text_may_have_lines_of_its_own(serve: Serve) -> None:
    """JSON need not escape these, which Python takes for ends of lines."""
    said = json.dumps({"choices": [{"delta": {"content": "po\x85\u2028ng"}}]}, ensure_ascii=False)
    url = serve(lambda *_: (200, f"data: {said}\r\n\r\ndata: [DONE]\r\n\r\n"))
    assert checks.stream_chat(url, "sk-key", "tiny").endswith("(1 events)")


@pytest.mark.parametrize(
    ("status", "text", "message"),
    [
        (200, events("po"), "the stream ended early"),
        (200, "", "the stream ended early"),
        (200, "data: [DONE]\n\n", "tiny: answered ''"),
        (200, events(" ") + "data: [DONE]\n\n", "tiny: answered ' '"),
        (200, 'data: {"error": "gone"}\n\ndata: [DONE]\n\n', "the stream broke off: gone"),
        (500, "boom", "HTTP 500: boom"),
        (200, "data: po\n\ndata: [DONE]\n\n", "no JSON: 'po'"),
        (200, "{% if user %}\n<html>", "no JSON: '{% if user %}<html>'"),
        (200, '{"error": {"message": "no"}}', "HTTP 200 with an error: {'message': 'no'}"),
        (200, '{\n  "object": "error",\n  "message": "no"\n}', "HTTP 200 with an error: no"),
    ],
)
def test_streams_that_are_not_believed(serve: Serve, status: int, text: str, message: str) -> None:
    url = serve(lambda *_: (status, text))
    with pytest.raises(ServiceError, match=message):
        checks.stream_chat(url, "sk-key", "tiny")


@pytest.mark.parametrize("page", ["<html>Log in</html>", "", '{"choices": ['])
def test_a_page_is_no_answer(serve: Serve, page: str) -> None:
    url = serve(lambda *_: (200, page))
    with pytest.raises(ServiceError, match="/v1/chat/completions: answers with what is no JSON"):
        checks.chat(url, "sk-key", "tiny")


def test_a_chat(serve: Serve) -> None:
    url = serve(lambda *_: (200, '{"choices": [{"message": {"content": "pong"}}]}'))
    assert checks.chat(url, "sk-key", "tiny") == "answered 'pong'"


def test_an_answer_that_says_it_has_no_error_is_believed(serve: Serve) -> None:
    message = {"content": "pong"}
    url = serve(lambda *_: (200, json.dumps({"error": None, "choices": [{"message": message}]})))
    assert checks.chat(url, "sk-key", "tiny") == "answered 'pong'"


def test_a_sender_of_aristote(serve: Serve) -> None:
    asked: list[tuple[str, str]] = []

    def answer(path: str, headers: dict[str, str], _: dict[str, Any]) -> tuple[int, str]:
        asked.append((path, headers["Authorization"]))
        return 200, json.dumps({"object": "list", "data": [{"id": "tiny"}, {"id": "old"}]})

    said = ready.sender_is_ready(serve(answer), "sk-key", ["tiny"])
    assert said == "has the queues of 1 model, and reaches its database"
    assert asked == [("/v1/models", "Bearer sk-key")]
    with pytest.raises(ServiceError, match=r"^big: RabbitMQ has no queue for it"):
        ready.sender_is_ready(serve(answer), "sk-key", ["tiny", "big"])


def test_a_model_that_still_thinks_has_answered(serve: Serve) -> None:
    message = {"content": None, "reasoning_content": "hm"}
    url = serve(lambda *_: (200, json.dumps({"choices": [{"message": message}]})))
    assert checks.chat(url, "sk-key", "tiny") == "answered 'hm'"


def parts(*texts: str | None) -> str:
    rows = [json.dumps({"choices": [{"text": text}]}) for text in texts]
    return "".join(f"data: {row}\n\n" for row in [*rows, '{"choices": []}'])


def test_a_streamed_completion(serve: Serve) -> None:
    url = serve(lambda *_: (200, parts("a, ", "b", "") + "data: [DONE]\n\n"))
    said = checks.stream_completion(url, "sk-key", "tiny", "a, b")
    assert said == "answered 'a, b' (4 events)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (parts("a, b", None) + "data: [DONE]\n\n", "a part of the stream has no text"),
        (parts("a, ") + "data: [DONE]\n\n", "tiny: answered 'a, '"),
        (parts("a, b"), "the stream ended early"),
    ],
)
def test_streamed_completions_that_are_not_believed(serve: Serve, text: str, message: str) -> None:
    url = serve(lambda *_: (200, text))
    with pytest.raises(ServiceError, match=message):
        checks.stream_completion(url, "sk-key", "tiny", "a, b")


def test_no_proxy_of_the_operator_is_asked(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    url = serve(lambda *_: (200, completion("x")))
    assert checks.complete(url, "sk-key", "tiny", None) == "answered 'x'"


def test_a_chat_in_the_web_ui(serve: Serve) -> None:
    def answer(path: str, headers: dict[str, str], body: dict[str, Any]) -> tuple[int, str]:
        if path == "/api/v1/auths/signin":
            assert body == {"email": "a@b.c", "password": "secret"}
            return 200, '{"token": "t"}'
        assert headers["Authorization"] == "Bearer t"
        return 200, '{"choices": [{"message": {"content": "pong"}}]}'

    said = checks.chat_in_web_ui(serve(answer), "a@b.c", "secret", "tiny")
    assert said == "logged in as a@b.c; answered 'pong'"


@pytest.mark.parametrize(("late", "works"), [(2, True), (9, False)])
def test_a_web_ui_that_has_no_models_yet(serve: Serve, late: int, works: bool) -> None:
    asked = []

    def answer(path: str, *_: Any) -> tuple[int, str]:
        if path == "/api/v1/auths/signin":
            return 200, '{"token": "t"}'
        asked.append(path)
        if len(asked) <= late:
            return 400, '{"detail":"Model not found"}'
        return 200, '{"choices": [{"message": {"content": "pong"}}]}'

    url = serve(answer)
    if works:
        said = checks.chat_in_web_ui(url, "a@b.c", "secret", "tiny")
        assert said == "logged in as a@b.c; answered 'pong'"
    else:
        with pytest.raises(ServiceError, match="Model not found"):
            checks.chat_in_web_ui(url, "a@b.c", "secret", "tiny")
    assert len(asked) == 3


def test_one_of_several_web_uis(serve: Serve) -> None:
    url = serve(lambda path, *_: (200 if path == "/ready" else 404, '{"status": true}'))
    assert ready.web_ui_is_ready(url) == "reaches its database and Valkey"
    away = serve(lambda *_: (503, '{"detail": "Redis not ready"}'))
    with pytest.raises(ServiceError, match="Redis not ready"):
        ready.web_ui_is_ready(away)


def test_a_password_that_was_changed_in_the_web_ui(serve: Serve) -> None:
    url = serve(lambda *_: (400, json.dumps({"detail": WRONG})))
    with pytest.raises(ServiceError) as refused:
        checks.chat_in_web_ui(url, "a@b.c", "hunter2-secret", "tiny")
    assert "web_ui_admin_password: does not log in" in str(refused.value)
    assert "change it in the web UI to match" in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("status", "text", "message"),
    [
        (429, '{"error":{"message":"This address has sent more than 600 requests"}}', "HTTP 429"),
        (500, "Internal Server Error", "HTTP 500"),
        (503, "", "HTTP 503"),
        (403, '{"detail":"The requested action has been restricted"}', "HTTP 403"),
        (401, "a proxy wants a login", "HTTP 401"),
        (400, '{"detail":"Your provider has not provided a trusted header."}', "trusted header"),
        (200, "{}", "not an answer of Open WebUI"),
        (200, "<html>", "answers with what is no JSON"),
    ],
)
def test_a_web_ui_that_does_not_sign_in_for_another_reason(
    serve: Serve, status: int, text: str, message: str
) -> None:
    url = serve(lambda *_: (status, text))
    with pytest.raises(ServiceError, match=message) as refused:
        checks.chat_in_web_ui(url, "a@b.c", "secret", "tiny")
    assert "web_ui_admin_password" not in str(refused.value)


def test_a_web_ui_that_has_had_too_many_logins_answers(serve: Serve) -> None:
    """Its own words for it: 15 runs in 3 minutes are no reason to say that it does not work."""
    url = serve(lambda *_: (429, '{"detail":"API rate limit exceeded"}'))
    check = checks.run_check(
        "web UI", "h1", lambda: checks.chat_in_web_ui(url, "a@b.c", "secret", "tiny")
    )
    assert (check.ok, check.detail) == (True, "answers, but refuses every login for now")
    assert "wait three minutes, then run atelier verify" in check.warning


def test_a_web_ui_that_does_not_answer_has_no_other_password() -> None:
    with pytest.raises(ServiceError, match="does not answer: ConnectError") as refused:
        checks.chat_in_web_ui("http://127.0.0.1:1", "a@b.c", "secret", "tiny")
    assert "web_ui_admin_password" not in str(refused.value)


@pytest.mark.parametrize(
    "garbage", ["not json", "[]", "{}", '{"choices": []}', '{"choices": [{"text": null}]}']
)
def test_garbage_is_a_failed_check_and_not_a_crash(serve: Serve, garbage: str) -> None:
    url = serve(lambda *_: (200, garbage))
    check = checks.run_check("x", "h1", lambda: checks.complete(url, "k", "tiny", "a, b"))
    assert not check.ok
    assert check.detail.startswith(
        ("not an answer of this service", "tiny: answered 'None'", "/v1/completions: answers with")
    )


def test_a_service_that_is_not_there_is_a_failed_check() -> None:
    url = "http://127.0.0.1:1"
    check = checks.run_check("x", "h1", lambda: checks.complete(url, "k", "tiny", None))
    assert (check.name, check.host, check.ok) == ("x", "h1", False)
    assert check.detail.startswith("ConnectError: ")
    assert check.seconds >= 0
