"""The base of everything declared."""

from __future__ import annotations

import re
from ipaddress import IPv4Address
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    GetJsonSchemaHandler,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from deploy.spec.descriptions import attribute_docstrings
from deploy.units import MIB

NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
"""What containers and models can be called."""


class Spec(BaseModel):
    """Something an operator declares: immutable, and refusing settings it does not know."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    hide_values: ClassVar[bool] = False
    """Whether error messages must not quote what is declared."""

    def to_json(self) -> dict[str, Any]:
        """The declared values as plain data; what ``pyinfra debug-inventory`` prints."""
        return self.model_dump(mode="json")

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe settings with what the source says of them."""
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, text in attribute_docstrings(cls).items():
            if name in properties:
                properties[name].setdefault("description", text)
        return schema


def refusal(found: str, allowed: str = "", fix: str = "") -> PydanticCustomError:
    """The error a validator raises to refuse a value with Atelier's own words."""
    return PydanticCustomError(
        "refused", "{found}", {"found": found, "allowed": allowed, "fix": fix}
    )


def _enough_to_start(size: ByteSize) -> ByteSize:
    if size < MINIMUM_MEMORY_BYTES:
        raise refusal(size.human_readable(), "at least 64MiB")
    return size


MINIMUM_MEMORY_BYTES = 64 * MIB
MemoryLimit = Annotated[ByteSize, AfterValidator(_enough_to_start)]
"""Memory limit of a container; Docker takes 0 for no limit at all."""


def _is_one_line(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise refusal(repr(text), "text on one line")
    return text


Line = Annotated[str, AfterValidator(_is_one_line)]
"""Text that is neither empty nor of several lines."""


def _at_home(path: Path) -> Path:
    _is_one_line(str(path))
    try:
        return path.expanduser()
    except RuntimeError:
        raise refusal(
            repr(str(path)), "a path; '~' stands for the home directory of a user who is known here"
        ) from None


def _may_be_at_home(text: str) -> str:
    return str(_at_home(Path(text))) if text.startswith("~") else text


LocalPath = Annotated[Path, AfterValidator(_at_home)]
"""A path on this machine; a relative one starts next to the inventory."""
LocalPathOr = Annotated[str, AfterValidator(_may_be_at_home)]
"""The same, or something else, such as a URL."""
HOST_PATHS = "an absolute path of the host below /, without '..' and the characters , : \" \\"


def is_host_path(path: PurePosixPath) -> bool:
    """Whether it can be one of a host: Docker takes some characters for the end of a path."""
    plain = str(path).isprintable() and not set(',:"\\') & set(str(path))
    return plain and path.is_absolute() and ".." not in path.parts and len(path.parts) > 1


def _is_of_a_host(path: PurePosixPath) -> PurePosixPath:
    if not is_host_path(path):
        raise refusal(repr(str(path)), HOST_PATHS)
    return path


HostPath = Annotated[PurePosixPath, AfterValidator(_is_of_a_host)]
"""A path on the host."""


def _written_out(address: Any) -> Any:
    if isinstance(address, int | float):
        # 0 and True would be addresses, too
        raise refusal(repr(address), "an address in quotes, e.g. '127.0.0.1' or '0.0.0.0'")
    return address


ListenAddress = Annotated[IPv4Address, BeforeValidator(_written_out)]
"""Address of the host that a port is bound to."""
