"""``[decisions.rewards]``: the types of reward of a shown item, each with its window and its weight."""

from typing import Final, Literal, get_args

import msgspec

from streams.contract.settings.sections import Positive, Share

RewardType = Literal["click", "cart", "purchase", "margin"]
REWARD_TYPES: Final[tuple[RewardType, ...]] = get_args(RewardType)


class Reward(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One type of reward; it is 0 if no event earns it.

    Attributes:
        window_s: Time after the impression; a later event is counted, but earns nothing.
        aggregation: Choice among several events in the window, by event time: the first, the sum, or the last.
        weight: Weight in the one reward that policies learn from.
    """

    window_s: Positive
    aggregation: Literal["earliest", "sum", "last"]
    weight: float


class Rewards(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All types: a click, an addition to the cart and a purchase are 1 each, a margin is in the shop's currency.

    Attributes:
        margin_rate: Share of price times quantity that a purchase earns the shop.
    """

    click: Reward = Reward(window_s=300, aggregation="earliest", weight=1.0)
    cart: Reward = Reward(window_s=600, aggregation="earliest", weight=0.0)
    purchase: Reward = Reward(window_s=900, aggregation="earliest", weight=0.0)
    margin: Reward = Reward(window_s=900, aggregation="sum", weight=0.0)
    margin_rate: Share = 0.3

    @property
    def by_type(self) -> tuple[Reward, ...]:
        """One for each of :data:`REWARD_TYPES`, in their order."""
        return self.click, self.cart, self.purchase, self.margin
