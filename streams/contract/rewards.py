"""What a shown item can earn: types of reward, each with its window and its weight."""

from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import Meta

RewardType = Literal["click", "cart", "purchase", "margin"]
REWARD_TYPES: Final[tuple[RewardType, ...]] = get_args(RewardType)


class Reward(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One type of reward; without anything that earns it, it is 0.

    Attributes:
        window_s: What comes later after the impression is counted, and earns nothing.
        aggregation: Of several within the window, by event time: the first, all added up, or the last.
        weight: In the one reward that policies learn from.
    """

    window_s: Annotated[int, Meta(gt=0)]
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
    margin_rate: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.3

    @property
    def by_type(self) -> tuple[Reward, ...]:
        """One for each of :data:`REWARD_TYPES`, in their order."""
        return self.click, self.cart, self.purchase, self.margin
