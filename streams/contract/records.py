"""The records that Headrace itself writes: JSON for people and other teams, MessagePack between its own folds."""

from typing import Annotated, Any, Final

import msgspec


def event_ref(topic: str, partition: int, offset: int) -> str:
    """Names the event an output was made from; a reader drops repeats by it.

    >>> event_ref("clickstream", 3, 41)
    'clickstream-3-41'
    """
    return f"{topic}-{partition}-{offset}"


class Reason(msgspec.Struct, frozen=True, gc=False):
    """How much one feature moved a score, in log-odds; of an amount, in its logarithm."""

    feature: str
    contribution: float


class Prediction(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One value of ``predictions``: what the shopper is expected to do next, as of one event or a session's end.

    Attributes:
        event_ref: The event it was made at; at the end of a session, its last event's with ``-end``.
        probabilities: Target to the champion's probability that it happens within the target's horizon.
        reasons: Target to the features that moved its score most, strongest first.
        models: Target to the version of the weights that were used; 0 is the declared prior.
        amounts: Target of rule ``spend`` to what the shopper is expected to spend within its horizon; left out where
            there is none.
    """

    event_ref: str
    user_id: str
    timestamp_ms: int
    probabilities: dict[str, float]
    reasons: dict[str, list[Reason]]
    models: dict[str, int]
    amounts: dict[str, float] = {}


class RecommendedItem(msgspec.Struct, frozen=True, gc=False):
    """One slot of a slate.

    Attributes:
        score: The policy's estimate of the reward; ``None`` where it has none (the control).
        propensity: Probability that this item was drawn for this slot, given the slots before it.
        reason: The kind of retrieval that proposed it.
    """

    item_id: str
    score: float | None
    propensity: float
    reason: str


class Recommendation(msgspec.Struct, frozen=True, gc=False):
    """One value of ``recommendations``: what to show to whom, and what to echo with the feedback.

    Attributes:
        decision_id: Echo it with ``impression`` and ``click``. It is the event_ref and a digest of the slate.
        items: Best slot first; empty where there was nothing to recommend.
        models: Policy's model to the version that was used.
    """

    decision_id: str
    event_ref: str
    user_id: str
    timestamp_ms: int
    policy: str
    items: list[RecommendedItem]
    models: dict[str, int]


class LoggedDecision(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One value of ``decisions`` (MessagePack): all that is needed to evaluate another policy on this decision.

    Attributes:
        shortlist: Every item that could have been shown, in retrieval's order, ``(n_items,)``.
        kinds: Kind of retrieval of each, ``(n_items,)``.
        features: float64, C order, ``(n_items, n_features)``.
        slate: Indices into the shortlist, first slot first, ``(n_slots,)``.
        propensities: Of each slot given the ones before it, ``(n_slots,)``, all else (the kind) given, too.
        state: The Q agent's discretised session state, whoever decides.
        kind: The kind that the Q agent chose; the one after the last where it chose to show nothing, -1 for other
            policies.
        kind_probability: Probability of that choice given the state; 1 for other policies.
        epsilon: The Q agent's.
        mask: Bit ``k`` where kind ``k`` has a candidate, and the bit after them for showing nothing.
        sampling_rate: Share of decisions that are logged.
        shadow: Whether this was never shown: its name is that of the decision that was, and the policy's.
    """

    decision_id: str
    event_ref: str
    user_id: str
    timestamp_ms: int
    policy: str
    shortlist: list[str]
    kinds: list[int]
    features: bytes
    slate: list[int]
    propensities: list[float]
    state: int
    kind: int
    kind_probability: float
    epsilon: float
    mask: int
    models: dict[str, int]
    sampling_rate: float
    shadow: bool = False


BOTH: Final = 0
"""An example whose label is final: measure what was served, then learn."""
LEARN: Final = 1
"""A label that is not final: 0 when the prediction was made, and once more 1 when that turned out wrong."""
MEASURE: Final = 2
"""The final label of what was learned early: measure only."""


class ExperienceBatch(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One value of ``experiences`` (MessagePack): examples for one learner, as columns, in trigger order.

    A trigger is the event that made the example complete: ``(offset, index)`` of source partition ``partition``.

    Attributes:
        learner: A target or a policy's model.
        offsets: int64, ``(n_examples,)``.
        indices: int32, ``(n_examples,)``; numbers the examples of one offset.
        columns: How many columns a vector has; a learner refuses another number.
        vectors: float32, C order, ``(n_examples, n_columns)``.
        labels: float64, ``(n_examples,)``: a label, an amount, or a reward.
        members: Names of the family's members, champion first.
        probabilities: float64, ``(n_examples, n_members)``, or expected amounts, as served; NaN for a member that did
            not exist yet.
        weights: float64, ``(n_examples,)``: one over the sampling rate.
        timestamps_ms: int64, ``(n_examples,)``: when the prediction or decision was made.
        reward_types: What ``rewards`` are of; empty where the labels are no rewards of shown items.
        rewards: float64, C order, ``(n_examples, n_reward_types)``; a label is their declared weighted sum.
        decision_ids: Of the decision that showed the item, ``(n_examples,)``; empty where none did.
        uses: int8, ``(n_examples,)``, what each example is for, :data:`BOTH`, :data:`LEARN` or :data:`MEASURE`; empty
            where all are for both.
    """

    learner: str
    partition: int
    offsets: bytes
    indices: bytes
    columns: int
    vectors: bytes
    labels: bytes
    members: list[str]
    probabilities: bytes
    weights: bytes
    timestamps_ms: bytes
    reward_types: list[str] = []
    rewards: bytes = b""
    decision_ids: list[str] = []
    uses: bytes = b""


class Relation(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one event says of one item.

    Attributes:
        offset: Of the event, in the source partition of the batch.
        kind: ``view``, ``add_to_cart``, ``purchase``, ``impression``, ``click``, or the mirror image of another item's
            ``related``, which changes what belongs together only: ``covisit`` of a view's, ``copurchase`` of a
            purchase's.
        related: Of a view, items looked at before in the same session, of a purchase, items bought; nearest first.
        distance: Of a ``covisit``, the items between the two.
    """

    offset: int
    index: int
    timestamp_ms: int
    item_id: str
    kind: str
    category: str | None
    price: float | None
    related: list[str]
    distance: Annotated[int, msgspec.Meta(ge=0, le=2)] = 0


class RelationBatch(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One value of ``relations`` (MessagePack): relations of one source partition, in trigger order."""

    partition: int
    relations: list[Relation]


class ItemSummary(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One value of the ``items`` feed (MessagePack): what retrieval and ranking need of an item.

    Attributes:
        first_seen_ms: Event time of the first relation.
        updated_ms: Event time that the decayed numbers are as of.
        popularity: Decayed, weighted count of views, carts and purchases.
        impressions: Decayed count of times it was shown.
        clicks: Decayed count of clicks when shown.
        neighbours: Items that it leads to within a session, strongest first.
        strengths: Decayed weights of these rules, same order.
        bought: Items bought in the same session, strongest first.
        bought_strengths: Decayed counts of it, same order.
    """

    item_id: str
    category: str | None
    price: float | None
    first_seen_ms: int
    updated_ms: int
    popularity: float
    impressions: float
    clicks: float
    neighbours: list[str]
    strengths: list[float]
    bought: list[str] = msgspec.field(default_factory=list)
    bought_strengths: list[float] = msgspec.field(default_factory=list)


class Parameters(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One value of the ``models`` feed (MessagePack): the exported parameter arrays of one member.

    Attributes:
        learner: A target or a policy's model.
        member: Of its family.
        champion: Whether this member's probabilities are the ones that are served.
        version: Experience records that the learner has learned from; higher with every export.
        schema: Fingerprint of the feature names; a scorer refuses another one.
        examples: How many examples it has learned from.
        arrays: Name to ``[dtype, shape, bytes]``, see :mod:`streams.contract.arrays`.
    """

    learner: str
    member: str
    champion: bool
    version: int
    schema: int
    examples: int
    arrays: dict[str, Any]


JSON: Final = msgspec.json.Encoder()
MSGPACK: Final = msgspec.msgpack.Encoder()

decode_prediction: Final = msgspec.json.Decoder(Prediction).decode
decode_recommendation: Final = msgspec.json.Decoder(Recommendation).decode
decode_logged_decision: Final = msgspec.msgpack.Decoder(LoggedDecision).decode
decode_experiences: Final = msgspec.msgpack.Decoder(ExperienceBatch).decode
decode_relations: Final = msgspec.msgpack.Decoder(RelationBatch).decode
decode_item: Final = msgspec.msgpack.Decoder(ItemSummary).decode
decode_parameters: Final = msgspec.msgpack.Decoder(Parameters).decode
