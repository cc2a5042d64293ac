"""The base of everything declared."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ByteSize, ConfigDict, GetJsonSchemaHandler
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
