"""What browsers have the web UI do: temporary chats, and one that it keeps.

A browser leaves the work to the web UI: its request is answered at once with the tasks that write
the answer, and the text reaches the browser through a socket. Written after ``chat_completion`` in
``open_webui/main.py`` of 0.12.4, and ``open_webui/utils/chat_id.py``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

import httpx

from deploy.errors import ServiceError
from deploy.live.http import get, post, prepare
from deploy.live.privacy.doors import MARK, Asked, Door, chat_body, cut_off_body, with_mark
from deploy.live.privacy.look import Look, WebUI
from deploy.live.privacy.needles import Mark

CHAT, CHATS, TASKS = "/api/chat/completions", "/api/v1/chats", "/api/tasks"
KEPT = "a chat that somebody keeps, web UI"
TEMPORARY = "a temporary chat"
TASK_SECONDS = 60
LOOK_SECONDS = 0.5


def ask_as_browsers(door: Door, mark: Mark) -> Iterator[Asked]:
    """Temporary chats: one that is answered, one that is refused, one that is stopped.

    Args:
        door: the web UI, to an administrator, who may see and stop tasks.
        mark: what they carry.
    """
    web_ui, body = WebUI(door.base, door.key), chat_body(door.model)
    for kind, asked in (
        (TEMPORARY, body),
        (f"{TEMPORARY} with a wrong parameter", body | {"temperature": MARK}),
        (f"{TEMPORARY}, cut off", cut_off_body(door)),
    ):
        request = f"{kind}, {door.name}"
        given = with_mark(asked, mark.carried_by(request)) | _session() | {"stream": True}
        yield Asked(request, _ask(web_ui, given, stop=kind.endswith("cut off")))


def _session() -> dict[str, str]:
    """Of a browser that has just gone away: what its chat leaves is the same."""
    session = uuid4().hex
    return {"session_id": session, "chat_id": f"temporary:{session}", "id": str(uuid4())}


def _ask(web_ui: WebUI, body: dict[str, Any], *, stop: bool) -> str:
    try:
        begun = post(web_ui.base, CHAT, web_ui.token, body)
        tasks = set(begun["task_ids"])
        for task in tasks if stop else ():
            # it may have ended meanwhile
            with suppress(ServiceError):
                post(web_ui.base, f"{TASKS}/stop/{task}", web_ui.token, {})
        if not _wait(web_ui, tasks):
            return f"no answer after {TASK_SECONDS} s"
    except (httpx.HTTPError, ServiceError, LookupError, TypeError) as error:
        return f"no answer ({type(error).__name__})"
    return "200"


def _wait(web_ui: WebUI, tasks: set[str]) -> bool:
    """Wait until tasks have ended; whether they have."""
    deadline = time.monotonic() + TASK_SECONDS
    while tasks & set(get(web_ui.base, TASKS, web_ui.token)["tasks"]):
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_SECONDS)
    return True


class KeptChat:
    """A chat that the web UI keeps; it is removed in the end.

    It must be found: a search that does not find it would find nothing else.
    """

    def __init__(self, look: Look) -> None:
        self._look = look
        self._made: tuple[WebUI, str] | None = None

    def __enter__(self) -> None:
        web_ui, model = self._look.web_ui, self._look.artefacts.plan.default_model
        if web_ui is None:
            return
        body = with_mark(chat_body(model), self._look.needles.mark.carried_by(KEPT))
        [said] = [each for each in body["messages"] if each["role"] == "user"]
        body |= {
            "stream": True,
            "session_id": uuid4().hex,
            "id": str(uuid4()),
            # it is the first message of a chat
            "parent_id": None,
            "user_message": {"id": str(uuid4()), "parentId": None, "childrenIds": []} | said,
            "background_tasks": {"title_generation": True, "tags_generation": True},
        }
        begun = post(web_ui.base, CHAT, web_ui.token, body)
        self._made = (web_ui, str(begun["chat_id"]))
        _wait(web_ui, set(begun["task_ids"]))

    def __exit__(self, *_: object) -> None:
        if self._made:
            web_ui, chat = self._made
            with suppress(httpx.HTTPError):
                client, request = prepare("DELETE", web_ui.base, f"{CHATS}/{chat}", web_ui.token)
                client.send(request)
