"""Programs in a container of the deployment that are told by standard input what to look for.

What they are started with can be seen by everyone on the host: no secret is in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import docker
from docker.utils.socket import frames_iter


def stream_apart(
    client: docker.DockerClient, container: str, command: Sequence[str]
) -> Iterator[tuple[bytes, bytes]]:
    """What a program in a container prints and, apart from it, its errors, as they come.

    Args:
        client: Docker of its host.
        container: name of the container.
        command: the program and its arguments.

    Raises:
        docker.errors.APIError: if it cannot be started.
    """
    made = client.api.exec_create(container, list(command))
    for printed, errors in client.api.exec_start(made["Id"], stream=True, demux=True):
        yield printed or b"", errors or b""


def stream(
    client: docker.DockerClient, container: str, command: Sequence[str], said: str = ""
) -> Iterator[bytes]:
    """What a program in a container prints, errors included, as it comes.

    Args:
        client: Docker of its host.
        container: name of the container.
        command: the program and its arguments.
        said: what it reads; it must know itself when that ends.

    Raises:
        docker.errors.APIError: if it cannot be started.
    """
    made = client.api.exec_create(container, list(command), stdin=bool(said))
    if not said:
        yield from client.api.exec_start(made["Id"], stream=True)
        return
    connection: Any = client.api.exec_start(made["Id"], socket=True)
    try:
        # docker's own class for it only reads
        getattr(connection, "_sock", connection).sendall(said.encode())
        frames: Any = frames_iter
        for _, chunk in frames(connection, tty=False):
            yield chunk
    finally:
        connection.close()
