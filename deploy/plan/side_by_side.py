"""Every engine side by side, for one model on given GPUs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from deploy.catalog import Catalog, Image
from deploy.errors import PlanError, Problem, UnsupportedModelError
from deploy.plan.weights_to_try import BITS, no_such_weights, weights_to_try
from deploy.sizing.arrangement import DEFAULT_CONTEXT_TOKENS
from deploy.sizing.check import check_request
from deploy.sizing.declared import DeclaredModel, find_model
from deploy.sizing.device import Device
from deploy.sizing.engines import DEFAULT_VERSIONS, size_request
from deploy.sizing.fit import Fit
from deploy.sizing.reasons import Reason, ReasonKind, reason
from deploy.sizing.request import Sizing, SizingRequest
from deploy.sizing.trade_offs import trade_offs
from deploy.spec.engine_kinds import ENGINES, EngineKind, EngineTraits


@dataclass(frozen=True)
class Question:
    """What all engines are asked."""

    model: str
    """A name of the catalogue, or the path of a config.json."""
    devices: tuple[Device, ...]
    quantizations: tuple[str, ...] = ()
    """Each engine takes the first one that its format of weights has; its own choice of none."""
    users: int | None = None
    context_tokens: int | None = None
    max_model_len: int | None = None
    gpu_memory_utilization: float = 0.9
    kv_cache_dtype: str = "auto"
    prompt_per_output: float = 0.0
    tensor_parallel_size: int | None = None
    pipeline_parallel_size: int | None = None


@dataclass(frozen=True)
class Weights:
    """Weights that an engine could load."""

    quantization: str
    fits: Fit
    source: str | None
    """Their repository, tag or file; ``None`` where the catalogue knows none."""


@dataclass(frozen=True)
class EngineAnswer:
    """One engine's answer."""

    engine: EngineKind
    sizing: Sizing
    """With the users that are asked for, or as many as are answered at once."""
    one: Sizing
    """With one user alone."""
    weights: tuple[Weights, ...] = ()
    """All that it could load, the least quantised first."""
    images: tuple[Image, ...] = ()
    """The images for these cards."""
    has_experts: bool = False
    """Whether the model is a mixture of experts."""

    @property
    def traits(self) -> EngineTraits:
        """What the engine is."""
        return ENGINES[self.engine]

    @property
    def chosen(self) -> Weights | None:
        """The weights that are sized."""
        wanted = self.sizing.quantization
        return next((each for each in self.weights if each.quantization == wanted), None)

    @property
    def is_upper_bound(self) -> bool:
        """Whether the speed of all together is less than sizing says."""
        return any(each.kind is ReasonKind.READS_ALONE for each in self.sizing.warnings)

    @property
    def trade_offs(self) -> tuple[str, ...]:
        """What one gives up with it."""
        return trade_offs(self.engine, has_experts=self.has_experts)


def side_by_side(question: Question, catalog: Catalog) -> tuple[EngineAnswer, ...]:
    """Ask every engine.

    Raises:
        PlanError: if the model is not known, or the question contradicts itself for every engine
            that could serve it.
        ModelConfigError: if its config.json cannot be read.
    """
    _check_quantizations(question.quantizations)
    answers, errors = [], []
    for kind in ENGINES:
        try:
            answer = _answer(kind, question, catalog)
        except (PlanError, UnsupportedModelError) as error:
            why = reason(ReasonKind.DECLINED, why=error.in_one_line)
            answer = _refused(kind, question, why)
            errors.append(error)
        answers.append(replace(answer, images=tuple(_images(kind, question, catalog))))
    contradictions = [error for error in errors if isinstance(error, PlanError)]
    if contradictions and not any(answer.weights for answer in answers):
        raise contradictions[-1]
    return tuple(answers)


def _check_quantizations(names: tuple[str, ...]) -> None:
    known = list(dict.fromkeys(name for bits in BITS.values() for name in bits))
    for name in names:
        if name not in known:
            raise PlanError(Problem("quantization", repr(name), ", ".join(known)))


def _answer(kind: EngineKind, question: Question, catalog: Catalog) -> EngineAnswer:
    entry = catalog.models.get(question.model.lower())
    refusal = no_such_weights(kind, entry)
    if refusal is not None:
        return _refused(kind, question, refusal)
    found = find_model(question.model, catalog, None, kind)
    check_request(_request(kind, question, found, None))
    question = replace(question, context_tokens=_context(question, found))
    # engines with slots are asked for as many as fit once their weights are chosen
    each = question if ENGINES[kind].shares_cache else replace(question, users=1)
    sources, declined = weights_to_try(kind, question.quantizations, entry, found)
    if not sources:
        return _refused(kind, question, declined[0])
    sizings = {method: _size(kind, each, catalog, method) for method in sources}
    order = sorted(sizings, key=lambda method: -BITS[ENGINES[kind].weights].get(method, 16.0))
    chosen = _chosen(sizings, order)
    weights = tuple(Weights(method, sizings[method].fits, sources[method]) for method in order)
    sizing = _with_slots(kind, question, catalog, chosen)
    alone = _alone(kind, question, sizing)
    one = _size(kind, alone, catalog, chosen.quantization) if chosen.fits else sizing
    has_experts = found.architecture.moe is not None
    return EngineAnswer(kind, sizing, one, weights, has_experts=has_experts)


def _alone(kind: EngineKind, question: Question, sizing: Sizing) -> Question:
    """The same for one user, with the GPUs arranged as for all."""
    if not ENGINES[kind].shares_cache:
        return replace(question, users=1)
    return replace(
        question,
        users=1,
        tensor_parallel_size=sizing.tensor_parallel_size,
        pipeline_parallel_size=sizing.pipeline_parallel_size,
    )


def _context(question: Question, found: DeclaredModel) -> int:
    """Tokens of each request: the same for all engines."""
    limit = found.architecture.max_position_embeddings
    longest = min(question.max_model_len or limit, limit)
    return question.context_tokens or min(DEFAULT_CONTEXT_TOKENS, longest)


def _refused(kind: EngineKind, question: Question, why: Reason) -> EngineAnswer:
    names = tuple(device.name for device in question.devices)
    version = DEFAULT_VERSIONS.get(kind, "")
    model = question.model
    sizing = Sizing(False, Fit.NO, (why,), model, kind, names, engine_version=version)
    return EngineAnswer(kind, sizing, sizing)


def _size(kind: EngineKind, question: Question, catalog: Catalog, method: str) -> Sizing:
    found = find_model(question.model, catalog, method, kind)
    return replace(size_request(_request(kind, question, found, method)), engine=kind)


def _request(
    kind: EngineKind, question: Question, found: DeclaredModel, method: str | None
) -> SizingRequest:
    return SizingRequest(
        model=found.architecture,
        devices=question.devices,
        engine=kind,
        name=found.name,
        quantization=method,
        weights_gib=found.weights_gib,
        gpu_memory_utilization=question.gpu_memory_utilization,
        max_model_len=question.max_model_len,
        kv_cache_dtype=question.kv_cache_dtype,
        users=question.users,
        context_tokens=question.context_tokens,
        prompt_per_output=question.prompt_per_output,
        tensor_parallel_size=question.tensor_parallel_size,
        pipeline_parallel_size=question.pipeline_parallel_size,
        # as deployed: on for every model that can have it
        flash_attention=None if ENGINES[kind].shares_cache else True,
        engine_version=DEFAULT_VERSIONS.get(kind, ""),
    )


def _chosen(sizings: dict[str, Sizing], order: list[str]) -> Sizing:
    """The first that fits; else the smallest that can be counted."""
    fitting = [sizing for sizing in sizings.values() if sizing.fits]
    counted = [sizings[method] for method in reversed(order) if sizings[method].supported]
    return (fitting or counted or list(sizings.values()))[0]


def _with_slots(kind: EngineKind, question: Question, catalog: Catalog, chosen: Sizing) -> Sizing:
    """Of engines with slots: as many as are asked for, or as fit; others have none."""
    if ENGINES[kind].shares_cache or not chosen.fits:
        return chosen

    def sized(slots: int) -> Sizing:
        return _size(kind, replace(question, users=slots), catalog, chosen.quantization)

    held = _most_slots(sized, chosen)
    wanted = question.users or held
    slots = min(wanted, held)
    warnings = [*sized(slots).warnings]
    if slots < wanted:
        warnings.append(reason(ReasonKind.USERS_WAIT, wanted=wanted, users=slots))
    if slots > 1:
        warnings.append(reason(ReasonKind.READS_ALONE, slots=slots))
    return replace(sized(slots), concurrent_users=held, warnings=tuple(warnings))


def _most_slots(sized: Callable[[int], Sizing], one: Sizing) -> int:
    """As many as fit as surely as one of them does."""
    low, high = 1, max(one.concurrent_users, 1)
    while low < high:
        middle = (low + high + 1) // 2
        fits = sized(middle).fits
        is_as_sure = fits is one.fits or fits is Fit.YES
        low, high = (middle, high) if is_as_sure else (low, middle - 1)
    return low


def _images(kind: EngineKind, question: Question, catalog: Catalog) -> Iterator[Image]:
    """The engine's images for the vendor of these cards."""
    name, vendors = kind.replace("_", "-"), {device.vendor for device in question.devices}
    for key, image in catalog.images.items():
        # llama.cpp's without a variant is for CPUs
        is_cuda = key == (f"{name}-cuda" if f"{name}-cuda" in catalog.images else name)
        is_rocm = key.startswith((f"{name}-rocm", f"{name}-vulkan"))
        if (is_cuda and "nvidia" in vendors) or (is_rocm and "amd" in vendors):
            yield image
