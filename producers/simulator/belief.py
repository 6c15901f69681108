"""Posterior over what is hidden of a user and of a session, given the events so far.

Hidden are a user's taste, usual price, sensitivity to prices and resolution, and whether the session is for buying.
Known are the items with all that is true of them, and how users in general behave, as to somebody who has watched the
shop for ever. Users are weighted particles, drawn as the shop's users were. The posterior is exact but for the number
of particles and two simplifications: the first item of a session is taken for the one from which it started, and an
item of the session's category for one that was chosen near it.

Arrays have the shape ``(2, n_particles)``: sessions for browsing, sessions for buying.

References:
    Gordon, Salmond and Smith (1993), "Novel approach to nonlinear/non-Gaussian Bayesian state estimation", IEE-F 140.
"""

from typing import Final, NamedTuple

import numpy as np

from producers.simulator.delays import INTENTS, Forecast, gap_density, gap_passed, next_view_probability
from producers.simulator.ground_truth import (
    cart_probabilities,
    click_probabilities,
    direct_purchase_probabilities,
    purchase_probabilities,
)
from producers.simulator.journal import Slots
from producers.simulator.outlook import Outlook
from producers.simulator.plan import (
    FIRST_SEARCH_PROBABILITIES,
    REPEAT_PROBABILITIES,
    SEARCH_LEAD_MS,
    SEARCH_PROBABILITIES,
    Step,
    buying_probabilities,
    item_appeal,
    item_appeal_near,
)
from producers.simulator.population import Floats, Integers, Population
from producers.simulator.reactions import RARELY, Chain, Slate, any_click
from producers.simulator.shopper import FOLLOW_DELAY_MS, FOLLOWED_SHARE
from producers.simulator.typical_view import IS_BUYING, TypicalView, imagine_view, log_shares

_IMPOSSIBLE: Final = -700.0
"""Log of a probability that is 0."""
_FORMER_CLICKS: Final = 0.2
"""Weight of the items near the session's first one among those that are clicked; the others were shown so far."""


class Observer(NamedTuple):
    """Somebody who knows the items and how users behave, and sees events only.

    Attributes:
        population: The shop's items, and the particles as its users.
        clicked_share: Share of the views whose slate is clicked, before anything is known of a session.
        forecast: Of any horizon; it has the delays.
    """

    population: Population
    clicked_share: float
    forecast: Forecast

    @property
    def n_particles(self) -> int:
        """Number of particles."""
        return len(self.population.user_tastes)


class SessionBelief:
    """Posterior in one session.

    Args:
        log_weights: Of the particles before the session, ``(n_particles,)``.
        is_buying: Set where the intent is not hidden.

    Attributes:
        seen: Items that were viewed.
    """

    def __init__(self, observer: Observer, log_weights: Floats, is_buying: bool | None = None) -> None:
        self._observer = observer
        self._population = observer.population
        self._users = np.arange(observer.n_particles)
        buying = buying_probabilities(self._population, self._users)
        if is_buying is not None:
            buying = np.full(len(buying), float(is_buying))
        self._log = log_weights + np.log(np.maximum(np.stack([1.0 - buying, buying]), np.exp(_IMPOSSIBLE)))
        self._n_views = 0
        self._view_s = 0.0
        self._latest_view_s = 0.0
        self._is_announced = False
        self._own: set[int] = set()
        self.seen: set[int] = set()
        self._chains: list[Chain] = []
        self._directs: list[tuple[float, Floats]] = []
        self._slates: dict[str | None, Slate] = {}
        self._followed: tuple[int, int] | None = None
        self._first, self._log_near = 0, np.zeros((0, 0))
        nothing = np.zeros((2, len(buying)))
        self._typical = TypicalView(nothing, nothing, nothing, nothing, 0.0)
        self._clicks = self._clicked_carts = self._clicked_purchases = nothing
        self._clicked_sum, self._n_slates = nothing + observer.clicked_share, 1

    def observe(self, step: Step) -> None:
        """Applies one event other than an impression."""
        now_s = step.timestamp_ms / 1000.0
        self._settle(now_s)
        match step.kind:
            case "view":
                self._view(step, now_s)
            case "search":
                self._search(step.item, now_s)
            case "add_to_cart":
                self._cart(step.item, now_s)
            case "remove_from_cart" if (chain := self._in_cart(step.item)) is not None:
                self._chains.remove(chain)
            case "purchase":
                self._purchase(step.item)
            case "click" if step.decision_id in self._slates:
                slate = self._slates[step.decision_id]
                self._log = self._log + np.log(slate.click(step.position, now_s))
                if slate.n_clicks == 1:
                    self._followed = step.item, step.timestamp_ms + FOLLOW_DELAY_MS

    def show(self, step: Step, slots: Slots, probabilities: Floats) -> None:
        """Applies an impression.

        Args:
            probabilities: From :meth:`click_probabilities`.
        """
        now_s = step.timestamp_ms / 1000.0
        self._settle(now_s)
        self._slates[step.decision_id] = Slate(now_s, slots, probabilities)
        self._clicked_sum = self._clicked_sum + any_click(probabilities)
        self._n_slates += 1
        items = np.array([item for _, item in slots], np.int64)
        is_repeat = np.array([item in self.seen for _, item in slots], bool)
        users, buying = self._users[:, None], IS_BUYING[:, :, None]
        cart = cart_probabilities(self._population, users, items, buying, is_repeat)
        bought = cart * purchase_probabilities(self._population, users, items, buying)
        self._clicks = self._clicks + probabilities.sum(axis=2)
        self._clicked_carts = self._clicked_carts + (probabilities * cart).sum(axis=2)
        self._clicked_purchases = self._clicked_purchases + (probabilities * bought).sum(axis=2)

    def log_weights(self) -> Floats:
        """Returns the particles' log weights after the session, whatever its intent."""
        weights: Floats = np.logaddexp(self._log[0], self._log[1])
        return weights - np.max(weights)

    def click_probabilities(self, viewed_item: int, slots: Slots) -> Floats:
        """Returns the probability that each item of a slate is clicked, ``(2, n_particles, n_slots)``."""
        items = np.array([item for _, item in slots], np.int64)
        return click_probabilities(
            self._population,
            self._users[:, None],
            items,
            np.array([slot for slot, _ in slots], np.int64),
            np.array([viewed_item]),
            np.array([item in self.seen for _, item in slots], bool),
            IS_BUYING[:, :, None],
        )

    def slate_probabilities(self, weights: Floats, viewed_item: int, rng: np.random.Generator, draws: int) -> Floats:
        """Returns each item's probability to be clicked in the first slot, the mean over draws of the posterior."""
        intents, users = np.divmod(
            rng.choice(weights.size, draws, p=(weights / weights.sum()).ravel()), len(self._users)
        )
        items = np.arange(len(self._population.item_categories))
        is_seen = np.zeros(len(items), bool)
        is_seen[list(self.seen)] = True
        first, viewed = np.zeros(1, np.int64), np.array([viewed_item])
        is_buying = intents[:, None] == 1
        means: Floats = click_probabilities(
            self._population, users[:, None], items, first, viewed, is_seen, is_buying
        ).mean(axis=0)
        return means

    def outlook(self, at_s: float) -> Outlook:
        """Returns the posterior at a time, given that nothing has followed since the last event."""
        forecast = self._observer.forecast
        silence, open_shares = [], []
        for intent in INTENTS:
            more = 1.0 if self._is_announced else next_view_probability(self._n_views, intent)
            still = 1.0 if self._is_announced else 1.0 - gap_passed(at_s - self._view_s, intent)
            silence.append(max(1.0 - more + more * still, RARELY))
            open_shares.append(more * still / silence[-1])
        silences = [chain.silence(at_s, forecast) for chain in self._chains]
        weights = np.exp(self._log - np.max(self._log)) * np.array(silence)[:, None]
        for each in (*silences, *(slate.silence(at_s) for slate in self._slates.values())):
            weights = weights * each
        share = FOLLOWED_SHARE * self._clicked_sum / self._n_slates
        clicks, typical = _FORMER_CLICKS + self._clicks, self._typical
        typical = typical._replace(
            followed_cart=(_FORMER_CLICKS * typical.followed_cart + self._clicked_carts) / clicks,
            followed_purchases=(_FORMER_CLICKS * typical.followed_purchases + self._clicked_purchases) / clicks,
        )
        return Outlook(
            at_s=at_s,
            weights=weights,
            chains=self._chains,
            silences=silences,
            directs=self._directs,
            n_views=self._n_views,
            passed_s=at_s - self._view_s,
            open_shares=(open_shares[0], open_shares[1]),
            is_announced=self._is_announced,
            is_slate_unseen=at_s == self._latest_view_s,
            typical=typical,
            follow_rate=share / (1.0 - share),
        )

    def _settle(self, now_s: float) -> None:
        """Takes what nothing can follow any more into the weights."""
        for chain in [chain for chain in self._chains if chain.is_over(now_s)]:
            self._close(chain, now_s)
        for decision_id in [name for name, slate in self._slates.items() if slate.is_over(now_s)]:
            self._log = self._log + np.log(self._slates.pop(decision_id).silence(now_s))

    def _close(self, chain: Chain, now_s: float) -> None:
        self._chains.remove(chain)
        if chain.carted_s is not None:
            self._log = self._log + np.log(chain.silence(now_s, self._observer.forecast))
            return
        self._log = self._log + np.log1p(-chain.cart)
        if not chain.is_followed:
            item = np.array([chain.item])
            direct = direct_purchase_probabilities(self._population, self._users, item, IS_BUYING)
            self._directs.append((chain.view_s, direct))

    def _search(self, item: int, now_s: float) -> None:
        self._expect(now_s + SEARCH_LEAD_MS / 1000.0, is_searched=True)
        self._is_announced = True
        if not self._n_views:
            # The query names the category.
            items = self._category(item)
            appeal = item_appeal(self._population, self._users[:, None], items)
            self._typical = imagine_view(self._population, items, appeal, self._weights())

    def _view(self, step: Step, now_s: float) -> None:
        item = step.item
        is_followed = self._followed == (item, step.timestamp_ms)
        is_repeat = item in self.seen if is_followed else item in self._own
        if is_followed:
            self._followed = None
        else:
            if not self._is_announced:
                self._expect(now_s, is_searched=False)
            self._is_announced = False
            for chain in [each for each in self._chains if each.carted_s is None and not each.is_followed]:
                self._close(chain, now_s)
            self._choose(item)
            self._n_views += 1
            self._view_s = now_s
            self._own.add(item)
        self.seen.add(item)
        self._latest_view_s = now_s
        self._chains.append(self._chain(item, now_s, is_followed=is_followed, is_repeat=is_repeat))

    def _expect(self, view_s: float, *, is_searched: bool) -> None:
        """Takes in that there is another view, its time, and whether a search leads to it."""
        searches = SEARCH_PROBABILITIES if self._n_views else FIRST_SEARCH_PROBABILITIES
        for intent in INTENTS:
            likelihood = searches[intent] if is_searched else 1.0 - searches[intent]
            if self._n_views:
                likelihood *= next_view_probability(self._n_views, intent)
                likelihood *= gap_density(view_s - self._view_s, intent)
            self._log[intent] += np.log(max(likelihood, RARELY))

    def _choose(self, item: int) -> None:
        """Takes in which item is viewed next."""
        population = self._population
        if not self._n_views:
            items = self._category(item)
            appeal = item_appeal(population, self._users[:, None], items)
            near = item_appeal_near(population, appeal, np.array([item]), items)
            self._first, self._log_near = int(items[0]), log_shares(near)
            self._log = self._log + self._log_category_shares(item) + log_shares(appeal)[:, item - self._first]
            self._typical = imagine_view(population, items, near, self._weights())
        elif item in self._own:
            self._log = self._log + np.log(REPEAT_PROBABILITIES)[:, None]
        else:
            self._log = self._log + np.log1p(-np.array(REPEAT_PROBABILITIES))[:, None]
            place = item - self._first
            if 0 <= place < self._log_near.shape[1]:
                self._log = self._log + self._log_near[:, place]

    def _weights(self) -> Floats:
        """Returns the particles' weights, their sum is 1."""
        weights: Floats = np.exp(log_shares(self.log_weights()))
        return weights

    def _log_category_shares(self, item: int) -> Floats:
        """Returns the log of the share of each particle's sessions in the item's category."""
        category = int(self._population.item_categories[item])
        cumulative = self._population.user_category_shares
        before = cumulative[:, category - 1] if category else 0.0
        shares: Floats = np.log(np.maximum(cumulative[:, category] - before, RARELY))
        return shares

    def _category(self, item: int) -> Integers:
        """Lists the items of an item's category."""
        category = int(self._population.item_categories[item])
        start, end = self._population.category_starts[category : category + 2]
        return np.arange(start, end)

    def _cart(self, item: int, now_s: float) -> None:
        viewed = [each for each in self._chains if each.item == item and each.carted_s is None]
        if viewed:
            chain = viewed[-1]
        else:
            # Its time was over by less than a millisecond, by rounding.
            chain = self._chain(item, now_s, is_followed=False, is_repeat=True)
            self._chains.append(chain)
        self._log = self._log + np.log(chain.cart)
        chain.carted_s = now_s

    def _purchase(self, item: int) -> None:
        chain = self._in_cart(item)
        if chain is not None:
            self._log = self._log + np.log(chain.buy)
            self._chains.remove(chain)
        else:
            # Only sessions for buying have purchases without the cart.
            self._log[0] += _IMPOSSIBLE

    def _in_cart(self, item: int) -> Chain | None:
        return next((each for each in self._chains if each.item == item and each.carted_s is not None), None)

    def _chain(self, item: int, view_s: float, *, is_followed: bool, is_repeat: bool) -> Chain:
        items = np.array([item])
        cart = cart_probabilities(self._population, self._users, items, IS_BUYING, np.array([is_repeat]))
        buy = purchase_probabilities(self._population, self._users, items, IS_BUYING)
        return Chain(item, view_s, is_followed, cart, buy)
