"""Records that Headrace writes: JSON for other systems, MessagePack between its own folds."""

import re
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from streams.contract.event_kinds import Kind
from streams.contract.events import LATEST_TIMESTAMP_MS, Identifier, Price
from streams.contract.source_epoch import SourceId, epoch_of, plain_offset

MAX_RELATED: Final = 128
"""Items in one list of a signal or of an item's summary; the largest value of ``items.neighbours``."""

Whole = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
"""An offset, a version or a count; larger ones fit into no int64."""
Small = Annotated[int, Meta(ge=0, lt=1 << 31)]
Timestamp = Annotated[int, Meta(ge=0, le=LATEST_TIMESTAMP_MS)]
Amount = Annotated[float, Meta(ge=0.0, le=1e15)]
"""A decayed count; the bound keeps sums and products of them finite."""
_Related = Annotated[list[Identifier], Meta(max_length=MAX_RELATED)]


def event_ref(topic: str, partition: int, offset: int) -> str:
    """Returns the reference of the event that caused an output; readers recognise repeats by it.

    The epoch follows the topic where there were others before it.

    >>> event_ref("clickstream", 3, 41), event_ref("clickstream", 3, (1 << 48) + 41)
    ('clickstream-3-41', 'clickstream@1-3-41')
    """
    epoch = epoch_of(offset)
    return f"{topic}@{epoch}-{partition}-{plain_offset(offset)}" if epoch else f"{topic}-{partition}-{offset}"


def without_epoch(ref: str) -> str:
    """Returns a reference as whoever published the event knows it.

    >>> without_epoch("clickstream@1-3-41")
    'clickstream-3-41'
    """
    return _EPOCH.sub("", ref)


_EPOCH: Final = re.compile(r"@\d+")


class Reason(msgspec.Struct, frozen=True, gc=False):
    """Contribution of one group of features to a score, in log-odds; for an amount, to its logarithm."""

    group: str
    contribution: float


class Prediction(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One value of ``predictions``: a shopper's expected actions, as of one event or a session's end.

    Attributes:
        event_ref: Event of the prediction; at the end of a session, the reference of its last event with ``-end``.
        probabilities: Target to the probability that it happens within the target's horizon.
        reasons: Target to the groups of features with the largest contributions, strongest first.
        model_versions: Target to the version of the weights that were used; 0 is the declared prior.
        amounts: Target of rule ``spend`` to the expected spending within its horizon; left out if there is none.
    """

    event_ref: str
    user_id: str
    timestamp_ms: int
    probabilities: dict[str, float]
    reasons: dict[str, list[Reason]]
    model_versions: dict[str, int]
    amounts: dict[str, float] = {}


BY_CALLER: Final = "caller"
"""Reason of an item that no source proposed: the event that asked named it."""
NO_SOURCE: Final = -1
"""Its source in the log; also that of a decision by a policy that chooses no source."""


class RecommendedItem(msgspec.Struct, frozen=True, gc=False):
    """One slot of a slate.

    Attributes:
        score: The policy's estimate of the reward; ``None`` for a policy without estimates, such as a control.
        propensity: Probability that this item was drawn for this slot, given the slots before it.
        reason: Candidate source of the item, or :data:`BY_CALLER`.
    """

    item_id: str
    score: float | None
    propensity: float
    reason: str


class Recommendation(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One value of ``recommendations``: the slate for a shopper, and the id that feedback must echo.

    Attributes:
        decision_id: Echo it with ``impression`` and ``click``. It is the event_ref and a digest of the slate.
        items: First slot first; empty if there was nothing to recommend.
        model_versions: Policy's model to the version that was used.
        event_id: Id of the event that asked, as its producer chose it.
        surface: That of the event.
    """

    decision_id: str
    event_ref: str
    user_id: str
    timestamp_ms: int
    policy: str
    items: list[RecommendedItem]
    model_versions: dict[str, int]
    event_id: str = ""
    surface: str | None = None


class LoggedDecision(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One value of ``decisions`` (MessagePack): the input for evaluating another policy on this decision.

    Attributes:
        shortlist: Every item that could have been shown, in the order of retrieval or of the caller, ``(n_items,)``.
        sources: Candidate source of each item, :data:`NO_SOURCE` for a candidate of the caller, ``(n_items,)``.
        features: A row for each item, packed as :mod:`streams.core.policies.feature_packing` says.
        slate: Indices into the shortlist, first slot first, ``(n_slots,)``.
        propensities: Probability of each slot given the slots before it and the source, ``(n_slots,)``.
        state: The Q agent's discretised session state, logged for every policy.
        source: Candidate source that the Q agent chose; the number after the last source for showing nothing,
            :data:`NO_SOURCE` for other policies, and among candidates of the caller.
        source_probability: Probability of that choice given the state; 1 for other policies.
        epsilon: Exploration rate of the Q agent.
        mask: Bit ``k`` is set if source ``k`` has a candidate; the bit after them stands for showing nothing. 0 among
            candidates of the caller.
        sampling_rate: Share of decisions that are logged.
        shadow: Whether it was decided for the log only; then its id is that of the shown decision, ``/``, the policy.
        event_id: Id of the event that asked.
        surface: That of the event.
        theta: Weights of the policy's reward model, float64, ``(n_features,)``; empty for a policy without one. With
            the features, they are the estimate of each item.
        examples: Summed weight of the examples that this model had learned from.
        deviations: Deviation of each item's estimate, float64, ``(n_items,)``; empty for a policy that reads none.
        left_out: Rule to the items that it kept out of the shortlist: candidates of the caller, or items that were
            among the first that a source proposed.
        categories: Category of each item, ``None`` for none, ``(n_items,)``; empty while no rule asks for it.
        max_per_category: Items of one category that the slate could have; 0 for any number. When a slot was drawn, the
            other items of a category that had so many in the slots before were not among those that remained.
    """

    decision_id: str
    event_ref: str
    user_id: str
    timestamp_ms: int
    policy: str
    shortlist: list[str]
    sources: list[int]
    features: bytes
    slate: list[int]
    propensities: list[float]
    state: int
    source: int
    source_probability: float
    epsilon: float
    mask: int
    model_versions: dict[str, int]
    sampling_rate: float
    shadow: bool = False
    event_id: str = ""
    surface: str | None = None
    theta: bytes = b""
    examples: float = 0.0
    deviations: bytes = b""
    left_out: dict[str, list[str]] = {}
    categories: list[str | None] = []
    max_per_category: int = 0


BOTH: Final = 0
"""Final label: measure the served prediction, then learn."""
LEARN: Final = 1
"""Preliminary label, learned only: 0 when the prediction is made, and once more 1 if that turns out wrong."""
MEASURE: Final = 2
"""Final label that is not learned: measure only."""


N_GROUPS: Final = 64
"""Groups of users, by hash, over which uncertainty is estimated: predictions for one user are not independent."""


MAX_COLUMNS: Final = 65_536
MAX_MODELS: Final = 64
"""Names of models in one record; a target has at most one of each type, and a replacement."""


class ServedBatch(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Outcomes of every served prediction of one target, as columns, ordered by source position.

    Attributes:
        offsets: int64, ``(n,)``: with ``indices`` the source position, see :class:`ExampleBatch`.
        indices: int32, ``(n,)``.
        served: float32, ``(n,)``: probability or amount.
        labels: float64, ``(n,)``: final labels, or amounts.
        timestamps_ms: int64, ``(n,)``: time of the prediction.
        groups: uint8, ``(n,)``: group of the user, below :data:`N_GROUPS`.
        from_prior: uint8, ``(n,)``: 1 where there was no model yet, and the target's prior was served.
    """

    offsets: bytes
    indices: bytes
    served: bytes
    labels: bytes
    timestamps_ms: bytes
    groups: bytes
    from_prior: bytes


class ExampleBatch(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One value of ``examples`` (MessagePack): examples for one learner, as columns, ordered by source position.

    The source position of an example is ``(offset, index)`` in source partition ``partition``: the offset of the event
    that completed it, and a number among the examples of that event.

    Attributes:
        learner: Name of a target or of a policy's model.
        offsets: int64, ``(n_examples,)``.
        indices: int32, ``(n_examples,)``.
        columns: Number of columns of a vector; a learner refuses any other.
        vectors: float32, C order, ``(n_examples, n_columns)``.
        labels: float64, ``(n_examples,)``: a label, an amount, or a reward.
        models: Names of the columns: what served first, then the target's models.
        probabilities: float64, ``(n_examples, n_models)``, or expected amounts, as served; NaN for a model that did
            not exist yet.
        weights: float64, ``(n_examples,)``: one over the probability of being sampled.
        timestamps_ms: int64, ``(n_examples,)``: time of the prediction or decision.
        reward_types: Columns of ``rewards``; empty if the labels are not rewards of shown items.
        rewards: float64, C order, ``(n_examples, n_reward_types)``; a label is their declared weighted sum.
        decision_ids: Decision that showed the item, ``(n_examples,)``; empty if the labels are not rewards.
        uses: int8, ``(n_examples,)``, each :data:`BOTH`, :data:`LEARN` or :data:`MEASURE`; empty if all are
            :data:`BOTH`.
        outcomes: Of every served prediction whose label became final, those above among them; ``None`` where the
            labels are rewards. The examples are a sample of share ``sampling_rate``.
        source_id: Id of the source topic whose offsets these are.
    """

    learner: str
    partition: Small
    offsets: bytes
    indices: bytes
    columns: Annotated[int, Meta(ge=0, le=MAX_COLUMNS)]
    vectors: bytes
    labels: bytes
    models: Annotated[list[Identifier], Meta(max_length=MAX_MODELS)]
    probabilities: bytes
    weights: bytes
    timestamps_ms: bytes
    reward_types: list[str] = []
    rewards: bytes = b""
    decision_ids: list[str] = []
    uses: bytes = b""
    outcomes: ServedBatch | None = None
    source_id: SourceId = ""


SignalKind = Literal[Kind, "covisit", "copurchase"]


class ItemSignal(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Information of one event about one item.

    Attributes:
        offset: Source offset of the event, in the batch's partition.
        kind: ``view``, ``add_to_cart``, ``purchase``, ``impression`` or ``click``; or, for an item that is in the
            ``related`` of another item's signal, ``covisit`` (of a view) or ``copurchase`` (of a purchase), which
            changes only rules.
        related: Items viewed before in the same session (of a view), or bought in it (of a purchase); nearest first.
        distance: Number of items between the two (of a ``covisit``).
    """

    offset: Whole
    index: Small
    timestamp_ms: Timestamp
    item_id: Identifier
    kind: SignalKind
    category: Identifier | None
    price: Price | None
    related: _Related
    distance: Annotated[int, Meta(ge=0, le=2)] = 0


class ItemSignalBatch(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One value of ``item-signals`` (MessagePack): signals of one source partition, ordered by source position.

    Attributes:
        source_id: Id of the source topic whose offsets these are.
    """

    partition: Small
    signals: list[ItemSignal]
    source_id: SourceId = ""


class ItemSummary(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One value of the ``items`` global table (MessagePack): input of retrieval and ranking about an item.

    Attributes:
        first_seen_ms: Event time of the first signal.
        updated_ms: Event time to which the counts are decayed.
        popularity: Decayed, weighted count of views, carts and purchases.
        impressions: Decayed count of impressions.
        clicks: Decayed count of clicks on them.
        neighbours: Targets of the item's rules, strongest first.
        strengths: Decayed weights of these rules, same order.
        bought: Items bought in the same session, strongest first.
        bought_strengths: Decayed counts of those purchases, same order.
    """

    item_id: Identifier
    category: Identifier | None
    price: Price | None
    first_seen_ms: Timestamp
    updated_ms: Timestamp
    popularity: Amount
    impressions: Amount
    clicks: Amount
    neighbours: _Related
    strengths: list[Amount]
    bought: _Related = msgspec.field(default_factory=list)
    bought_strengths: list[Amount] = msgspec.field(default_factory=list)

    def __post_init__(self) -> None:
        if len(self.neighbours) != len(self.strengths) or len(self.bought) != len(self.bought_strengths):
            raise ValueError("a list of items and the list of their strengths differ in length")


class Parameters(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One value of the ``models`` global table (MessagePack): the exported parameter arrays of one model.

    Attributes:
        learner: Name of a target or of a policy's model.
        model: Name of the model among those of its target.
        champion: Whether this model has the greatest weight.
        version: Records of ``examples`` that the learner has learned from; it rises with every export.
        schema: Fingerprint of the feature names; a scorer refuses any other.
        examples: Number of examples learned from.
        arrays: Name to ``[dtype, shape, bytes]``, see :mod:`streams.contract.arrays`.
        weights: Weights of all models of the learner in the mixture that serves. Without any, as in records before
            there was a mixture, the champion serves alone.
    """

    learner: str
    model: str
    champion: bool
    version: Whole
    schema: Whole
    examples: Whole
    arrays: dict[str, Any]
    weights: dict[str, float] = msgspec.field(default_factory=dict)


JSON: Final = msgspec.json.Encoder()
MSGPACK: Final = msgspec.msgpack.Encoder()

decode_prediction: Final = msgspec.json.Decoder(Prediction).decode
decode_recommendation: Final = msgspec.json.Decoder(Recommendation).decode
decode_logged_decision: Final = msgspec.msgpack.Decoder(LoggedDecision).decode
decode_examples: Final = msgspec.msgpack.Decoder(ExampleBatch).decode
decode_item_signals: Final = msgspec.msgpack.Decoder(ItemSignalBatch).decode
decode_item: Final = msgspec.msgpack.Decoder(ItemSummary).decode
decode_parameters: Final = msgspec.msgpack.Decoder(Parameters).decode
