"""Says whether a consumer takes requests from the queue of its model: RabbitMQ counts who does.

    python3 consumer_health.py

Aristote's own probes answer 500. The variables are those of the consumer.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import urllib.request
from urllib.parse import quote

TIMEOUT_SECONDS = 4


def consumers(environment: dict[str, str]) -> int:
    """How many programs take messages from the queue.

    Raises:
        OSError: if RabbitMQ does not answer, or knows no such queue.
    """
    host, port = environment["RABBITMQ_HOST"], environment["RABBITMQ_MANAGEMENT_PORT"]
    url = f"http://{host}:{port}/api/queues/%2F/{quote(environment['MODEL'], safe='')}"
    login = f"{environment['RABBITMQ_USER']}:{environment['RABBITMQ_PASSWORD']}".encode()
    headers = {"Authorization": f"Basic {base64.b64encode(login).decode()}"}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, headers=headers)
    with opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
        return int(json.load(answer).get("consumers", 0))


def main() -> int:
    """Exit status 0 where there is one."""
    try:
        found = consumers(dict(os.environ))
    except OSError as error:
        sys.stdout.write(f"queue {os.environ['MODEL']}: {error}\n")
        return 1
    sys.stdout.write(f"queue {os.environ['MODEL']}: {found} consumers\n")
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
