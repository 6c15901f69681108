"""Predictions from the posterior: the expected later events of a shopper."""

from typing import Final, NamedTuple

from producers.simulator.delays import INTENTS, Forecast, direct_passed, next_view_probability
from producers.simulator.plan import MOST_VIEWS
from producers.simulator.population import Floats
from producers.simulator.reactions import Chain, any_click
from producers.simulator.typical_view import TypicalView

_MORE_VIEWS: Final = tuple(
    tuple(next_view_probability(n_views, intent) for n_views in range(MOST_VIEWS)) for intent in INTENTS
)
"""Probability of another view, by intent and number of views so far; there is none after the last."""


class Outlook(NamedTuple):
    """The posterior at a time, given that nothing has followed since the last event.

    Attributes:
        weights: Of the particles, ``(2, n_particles)``, not normalised.
        chains: Views, and items in the cart, from which something may still follow.
        silences: The probability of each of them that nothing has followed so far.
        directs: Time of a view, and the probability of its purchase without the cart.
        n_views: Views of the session, without those that follow from clicks.
        passed_s: Time since the last one.
        open_shares: Probability of another one, by intent.
        is_announced: Whether a search has announced it.
        is_slate_unseen: Whether the present view's slate has not been seen yet.
        typical: What follows on average from another one.
        follow_rate: Views that follow from a view, and from those views, by clicks.
    """

    at_s: float
    weights: Floats
    chains: list[Chain]
    silences: list[Floats]
    directs: list[tuple[float, Floats]]
    n_views: int
    passed_s: float
    open_shares: tuple[float, float]
    is_announced: bool
    is_slate_unseen: bool
    typical: TypicalView
    follow_rate: Floats

    def click_probability(self, probabilities: Floats) -> float:
        """Returns the probability of a click on any slot, from those of the slots."""
        return float((self.weights * any_click(probabilities)).sum() / self.weights.sum())

    def cart_probability(self, forecast: Forecast) -> float:
        """Returns the probability of an addition to the cart within the forecast's horizon."""
        none = self.weights
        for chain, silence in zip(self.chains, self.silences, strict=True):
            none = none * (1.0 - chain.silence_and_cart(self.at_s, forecast.horizon_s, forecast) / silence)
        followed = self.follow_rate * self.typical.followed_cart
        rate = self.typical.cart + followed
        later = 0.0
        for intent in INTENTS:
            at_once = self._mean(followed, intent) if self.is_slate_unseen else 0.0
            later += float(none[intent].sum()) * self._none_later(forecast, intent, self._mean(rate, intent), at_once)
        return 1.0 - later / float(self.weights.sum())

    def purchases(self, forecast: Forecast, prices: Floats) -> tuple[float, float]:
        """Returns the probability of a purchase within the forecast's horizon, and the expected sum of the prices."""
        none, spend = self.weights, 0.0
        for chain, silence in zip(self.chains, self.silences, strict=True):
            bought = chain.silence_and_purchase(self.at_s, forecast.horizon_s, forecast) / silence
            none = none * (1.0 - bought)
            spend += float((self.weights * bought).sum()) * float(prices[chain.item])
        later = 0.0
        for intent in INTENTS:
            rate, at_once = self._purchase_rates(intent, forecast.horizon_s)
            later += float(none[intent].sum()) * self._none_later(forecast, intent, rate, at_once)
            expected = at_once + rate * self._views_later(forecast, intent)
            spend += float(self.weights[intent].sum()) * expected * self.typical.price
        total = float(self.weights.sum())
        return 1.0 - later / total, spend / total

    def _mean(self, values: Floats, intent: int) -> float:
        weights = self.weights[intent]
        return float(weights @ values[intent]) / max(float(weights.sum()), 1e-300)

    def _purchase_rates(self, intent: int, horizon_s: float) -> tuple[float, float]:
        """Returns the expected purchases of each later view, and those that need no later view."""
        followed = self.follow_rate * self.typical.followed_purchases
        rate = self._mean(self.typical.purchases + followed, intent)
        at_once = self._mean(followed, intent) if self.is_slate_unseen else 0.0
        for view_s, direct in self.directs:
            passed_s = self.at_s - view_s
            share = direct_passed(passed_s + horizon_s) - direct_passed(passed_s)
            if share > 1e-3:
                at_once += share * self._mean(direct, intent)
        return rate, at_once

    def _none_later(self, forecast: Forecast, intent: int, rate: float, at_once: float) -> float:
        """Returns the probability that nothing comes in time of any later view.

        Args:
            rate: Probability by view.
            at_once: Probability of what does not need a later view.
        """
        none = 1.0
        for more, within in reversed(self._later_views(forecast, intent)):
            none = 1.0 - more + more * (1.0 - min(1.0, rate) * within) * none
        return none * (1.0 - min(1.0, at_once))

    def _views_later(self, forecast: Forecast, intent: int) -> float:
        """Returns the expected number of later views from which something comes in time."""
        expected, alive = 0.0, 1.0
        for more, within in self._later_views(forecast, intent):
            alive *= more
            expected += alive * within
        return expected

    def _later_views(self, forecast: Forecast, intent: int) -> list[tuple[float, float]]:
        """Returns for the next view, for one after it, and so on: its probability, and that it is early enough."""
        within = forecast.within(intent, self.passed_s, is_announced=self.is_announced)
        if self.open_shares[intent] <= 0.0:
            return []
        more = (self.open_shares[intent], *_MORE_VIEWS[intent][self.n_views + 1 :])
        return list(zip(more, within, strict=False))
