"""People of two routers: what each can keep of them, and who they are together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from deploy.people.records import Fields, Live, LiveRecord, Record
from deploy.plan.people import ARISTOTE_LACKS
from deploy.spec.router import RouterKind

Found = Mapping[RouterKind, Live]
"""What each router has."""
ORDER: tuple[RouterKind, ...] = ("aristote", "litellm")
"""In which they are changed: what a run that is killed leaves out is taken from Aristote."""


def of_router(kind: RouterKind, records: Iterable[Record]) -> list[Record]:
    """Records as one router can keep them: Aristote has no limits, and no key of it ends."""
    if kind == "litellm":
        return list(records)
    return [Record(each.kind, each.name, _without_limits(each.fields)) for each in records]


def _without_limits(fields: Fields) -> Fields:
    """What Aristote has a place for."""
    empty = {name: () if name == "models" else None for name in ARISTOTE_LACKS}
    return {name: empty.get(name, value) for name, value in fields.items()}


def merge(found: Found) -> Live:
    """Everybody, as LiteLLM has them, and those whom Aristote alone has.

    A key is disabled where one of the routers refuses it.
    """
    if len(found) == 1:
        return next(iter(found.values()))
    litellm, aristote = found["litellm"], found["aristote"]
    only_there = [each for each in aristote.records if litellm.find(each.kind, each.name) is None]
    records = [*litellm.records, *only_there]
    return Live(tuple(_refused_by_one(record, aristote) for record in records))


def _refused_by_one(record: LiveRecord, aristote: Live) -> LiveRecord:
    there = aristote.find(record.kind, record.name)
    if record.kind != "key" or there is None or not there.fields["disabled"]:
        return record
    return replace(record, fields={**record.fields, "disabled": True})


def lacking(found: Found, name: str) -> tuple[RouterKind, ...]:
    """The routers that do not know the key of somebody, which another one knows."""
    keys = {kind: live.find("key", name) for kind, live in found.items()}
    missing = tuple(kind for kind, key in keys.items() if key is None)
    if missing or len({key.id for key in keys.values() if key}) == 1:
        return missing
    aristote = keys["aristote"]
    return ("litellm",) if aristote and is_good(aristote, keys["litellm"]) else ("aristote",)


def is_good(aristote: LiveRecord, litellm: LiveRecord | None) -> bool:
    """Whether a key of Aristote's is the one that its person has, and that LiteLLM takes.

    It is not older than LiteLLM's.

    Args:
        aristote: the key that Aristote has.
        litellm: the one that LiteLLM has, if any.
    """
    if litellm is not None and aristote.id == litellm.id:
        return True
    if not aristote.fits_litellm:
        return False
    return litellm is None or (bool(aristote.made) and aristote.made >= litellm.made)
