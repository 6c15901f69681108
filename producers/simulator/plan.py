"""Plans of organic sessions, block by block, in the order of their start.

A plan does not depend on recommendations, so one seed gives every policy the same organic events. Sessions are planned
in blocks for numpy: planning one alone would cost more than publishing all its events.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from producers.simulator.ground_truth import (
    cart_probabilities,
    direct_purchase_probabilities,
    purchase_probabilities,
    sigmoid,
)
from producers.simulator.parameters import SimulationParameters
from producers.simulator.population import Booleans, Floats, Integers, Population
from streams.contract.event_kinds import Kind

BLOCK: Final = 512

_KINDS: Final[tuple[Kind, ...]] = ("search", "view", "add_to_cart", "remove_from_cart", "purchase")
_SEARCH, _VIEW, _CART, _REMOVE, _PURCHASE = range(len(_KINDS))

_CANDIDATES: Final = 16
_BUYING_BIAS: Final = -1.8

LEAST_VIEWS: Final = 3
MOST_VIEWS: Final = 24
# Pairs are of sessions for browsing and of those for buying.
END_PROBABILITIES: Final = (0.13, 0.10)
"""Probability that a session ends after each view from the third on."""
SHORTEST_GAP_MS: Final = 4000
GAP_MEDIANS_S: Final = (45.0, 24.0)
"""Of the time between two views beyond the shortest, which is lognormal."""
GAP_DEVIATION: Final = 0.7
FIRST_SEARCH_PROBABILITIES: Final = (0.2, 0.7)
SEARCH_PROBABILITIES: Final = (0.04, 0.09)
SEARCH_LEAD_MS: Final = 3000
"""From a search to its view."""
REPEAT_PROBABILITIES: Final = (0.15, 0.28)
REMOVAL_PROBABILITY: Final = 0.12
CART_DELAY_MS: Final = 1600
LONGEST_CART_DELAY_MS: Final = 30_000
"""Beyond the shortest; the delay is uniform up to it, or up to half of the gap to the next view."""
REACTION_DELAY_MS: Final = 20_000
"""Shortest time to a removal, and to a purchase that needs no cart."""
REMOVAL_MEAN_MS: Final = 90_000
DIRECT_MEAN_MS: Final = 40_000
PURCHASE_MEDIAN_S: Final = 200.0
PURCHASE_DEVIATION: Final = 0.8
PURCHASE_BOUNDS_S: Final = (20.0, 1500.0)

PAUSE_MS: Final = 600_000
"""Shortest time between two sessions of a user."""

_DAY_S: Final = 86_400.0
_PEAK_S: Final = 20 * 3600.0
_RHYTHM: Final = 0.5


class Step(NamedTuple):
    """A planned action of a shopper; the steps of a session are sorted by time, then by ``order``, which is unique."""

    timestamp_ms: int
    order: int
    kind: Kind
    item: int
    decision_id: str | None = None
    position: int | None = None


class Plan(NamedTuple):
    """One session without recommendations.

    Attributes:
        number: Number of the drawn session, from 0.
        steps: Steps in order.
    """

    number: int
    user: int
    is_buying: bool
    steps: list[Step]


class _Sessions(NamedTuple):
    """A block of sessions, before their steps; ``(n,)`` each."""

    users: Integers
    categories: Integers
    is_buying: Booleans


class _Steps(NamedTuple):
    """Steps of a block as columns: row of the session, milliseconds since its start, index into ``_KINDS``, item."""

    rows: Integers
    offsets_ms: Integers
    kinds: Integers
    items: Integers


def plan_sessions(population: Population, parameters: SimulationParameters) -> Iterator[Plan]:
    """Yields sessions without end, ordered by their start; sessions of one user never overlap."""
    rng = np.random.default_rng([parameters.seed, 1])
    busy_until_ms = [0] * parameters.n_users
    steady_s = float(steady_seconds(np.array(parameters.start_ms / 1000.0)))
    number = 0
    accepted_share = 1.0
    while True:
        sessions = _draw_sessions(rng, population)
        steps = _draw_steps(rng, population, sessions)
        sessions_per_s = parameters.events_per_second * BLOCK / (len(steps.rows) * accepted_share)
        starts_s = steady_s + np.cumsum(rng.exponential(1.0 / sessions_per_s, BLOCK))
        steady_s = float(starts_s[-1])
        starts_ms = (clock_seconds(starts_s) * 1000.0).astype(np.int64)
        accepted = 0
        for plan in _assemble(number, starts_ms, sessions, steps):
            # A user in a session does not start another; the next block is denser to make up for the lost events.
            if plan.steps[0].timestamp_ms < busy_until_ms[plan.user]:
                continue
            busy_until_ms[plan.user] = plan.steps[-1].timestamp_ms + PAUSE_MS
            accepted += len(plan.steps)
            yield plan
        number += BLOCK
        accepted_share = max(0.05, accepted / len(steps.rows))


def steady_seconds(clock_s: Floats) -> Floats:
    """Converts clock time to a time in which sessions start at a steady rate; it runs faster by day than by night."""
    phase = 2.0 * np.pi / _DAY_S
    swing = np.sin(phase * (clock_s - _PEAK_S)) + np.sin(phase * _PEAK_S)
    steady: Floats = clock_s + _RHYTHM / phase * swing
    return steady


def clock_seconds(steady_s: Floats) -> Floats:
    """Converts steady time back to clock time, within a second."""
    minutes = np.arange(0.0, _DAY_S + 60.0, 60.0)
    days = np.floor(steady_s / _DAY_S) * _DAY_S
    clock: Floats = days + np.interp(steady_s - days, steady_seconds(minutes), minutes)
    return clock


def buying_probabilities(population: Population, users: Integers) -> Floats:
    """Returns the probability that a session of each user is for buying."""
    return sigmoid(_BUYING_BIAS + population.user_resolutions[users])


def item_appeal(population: Population, users: Integers, items: Integers) -> Floats:
    """Returns the log-odds with which a user starts from an item of a category; arguments broadcast."""
    appeal: Floats = (
        0.9 * population.item_log_popularities[items]
        + 2.5 * population.affinity(users, items)
        - 0.9 * population.price_misfit(users, items)
    )
    return appeal


def item_appeal_near(population: Population, appeal: Floats, anchors: Integers, items: Integers) -> Floats:
    """Returns the log-odds with which a session that started from an anchor goes on to an item of its category."""
    return 0.6 * appeal + 5.0 * population.closeness(anchors, items)


def _of(pair: tuple[float, float], is_buying: Booleans) -> Floats:
    """Returns the first value of a pair for sessions for browsing, the second for those for buying."""
    return np.where(is_buying, pair[1], pair[0])


def _draw_sessions(rng: np.random.Generator, population: Population) -> _Sessions:
    users = np.searchsorted(population.user_shares, rng.random(BLOCK))
    categories = (population.user_category_shares[users] < rng.random((BLOCK, 1))).sum(axis=1)
    is_buying = rng.random(BLOCK) < buying_probabilities(population, users)
    return _Sessions(users, categories, is_buying)


def _draw_steps(rng: np.random.Generator, population: Population, sessions: _Sessions) -> _Steps:
    buying = sessions.is_buying[:, None]
    n_views = np.minimum(LEAST_VIEWS - 1 + rng.geometric(_of(END_PROBABILITIES, sessions.is_buying)), MOST_VIEWS)
    viewed = np.arange(MOST_VIEWS) < n_views[:, None]
    items, is_repeat = _draw_items(rng, population, sessions)
    shape = items.shape
    medians_s = _of(GAP_MEDIANS_S, buying)
    gaps_ms = SHORTEST_GAP_MS + 1000 * rng.lognormal(np.log(medians_s), GAP_DEVIATION, shape)
    is_first = np.arange(MOST_VIEWS) == 0
    searches = viewed & (
        rng.random(shape)
        < np.where(is_first, _of(FIRST_SEARCH_PROBABILITIES, buying), _of(SEARCH_PROBABILITIES, buying))
    )
    # The gap of a view follows it; a search is three seconds before its view.
    views_ms = SEARCH_LEAD_MS * searches[:, :1] + np.cumsum(gaps_ms, axis=1) - gaps_ms

    users = sessions.users[:, None]
    carts = viewed & (rng.random(shape) < cart_probabilities(population, users, items, buying, is_repeat))
    carts_ms = views_ms + CART_DELAY_MS + rng.random(shape) * np.minimum(0.5 * gaps_ms, LONGEST_CART_DELAY_MS)
    removals = carts & (rng.random(shape) < REMOVAL_PROBABILITY)
    removals_ms = carts_ms + REACTION_DELAY_MS + rng.exponential(REMOVAL_MEAN_MS, shape)
    bought = carts & ~removals & (rng.random(shape) < purchase_probabilities(population, users, items, buying))
    bought_ms = carts_ms + purchase_delays_ms(rng, shape)
    direct = viewed & ~carts
    direct &= rng.random(shape) < direct_purchase_probabilities(population, users, items, buying)
    direct_ms = views_ms + REACTION_DELAY_MS + rng.exponential(DIRECT_MEAN_MS, shape)

    parts = (
        (_SEARCH, searches, views_ms - SEARCH_LEAD_MS),
        (_VIEW, viewed, views_ms),
        (_CART, carts, carts_ms),
        (_REMOVE, removals, removals_ms),
        (_PURCHASE, bought, bought_ms),
        (_PURCHASE, direct, direct_ms),
    )
    rows = np.concatenate([np.nonzero(mask)[0] for _, mask, _ in parts])
    offsets_ms = np.concatenate([times[mask] for _, mask, times in parts]).astype(np.int64)
    kinds = np.concatenate([np.full(np.count_nonzero(mask), kind) for kind, mask, _ in parts])
    order = np.lexsort((offsets_ms, rows))
    chosen = np.concatenate([items[mask] for _, mask, _ in parts])
    return _Steps(rows[order], offsets_ms[order], kinds[order], chosen[order])


def purchase_delays_ms(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Draws the time from adding an item to the cart to its purchase, at most 25 minutes."""
    delays: Floats = 1000.0 * np.clip(
        rng.lognormal(np.log(PURCHASE_MEDIAN_S), PURCHASE_DEVIATION, shape), *PURCHASE_BOUNDS_S
    )
    return delays


def _draw_items(rng: np.random.Generator, population: Population, sessions: _Sessions) -> tuple[Integers, Booleans]:
    """Draws the viewed items: items close to an anchor, some of them repeated, and some random ones by popularity.

    Returns:
        Items, and whether each was viewed before in the session; ``(n, MOST_VIEWS)``.
    """
    candidates = _draw_candidates(rng, population, sessions)
    shape = (BLOCK, MOST_VIEWS)
    is_new = rng.random(shape) > _of(REPEAT_PROBABILITIES, sessions.is_buying)[:, None]
    is_new[:, 0] = True
    latest = np.cumsum(is_new, axis=1) - 1
    earlier = (rng.random(shape) * (latest + 1)).astype(np.int64)
    choice = np.where(is_new, latest, earlier) % candidates.shape[1]
    items = np.take_along_axis(candidates, choice, axis=1)
    by_popularity = np.cumsum(np.exp(population.item_log_popularities))
    is_stray = rng.random(shape) < 0.08
    strays = np.searchsorted(by_popularity, rng.random(shape) * by_popularity[-1])
    return np.where(is_stray, strays, items), ~is_new & ~is_stray


def _draw_candidates(rng: np.random.Generator, population: Population, sessions: _Sessions) -> Integers:
    """Draws a session's candidates: items of its category near an anchor, without replacement, by Gumbel keys."""
    starts = population.category_starts
    sizes = np.diff(starts)
    slots = np.arange(sizes.max())
    is_item = slots < sizes[sessions.categories, None]
    items = np.where(is_item, starts[sessions.categories, None] + slots, 0)
    users = sessions.users[:, None]
    appeal = item_appeal(population, users, items)
    keys = np.where(is_item, appeal + rng.gumbel(size=items.shape), -np.inf)
    anchors = np.take_along_axis(items, keys.argmax(axis=1)[:, None], axis=1)
    keys = item_appeal_near(population, appeal, anchors, items) + rng.gumbel(size=items.shape)
    keys = np.where(is_item, keys, -np.inf)
    best = np.argsort(-keys, axis=1)[:, : min(_CANDIDATES, int(sizes.min()))]
    return np.take_along_axis(items, best, axis=1)


def _assemble(number: int, starts_ms: Integers, sessions: _Sessions, steps: _Steps) -> Iterator[Plan]:
    timestamps = (starts_ms[steps.rows] + steps.offsets_ms).tolist()
    kinds = [_KINDS[kind] for kind in steps.kinds.tolist()]
    items = steps.items.tolist()
    bounds = np.searchsorted(steps.rows, np.arange(BLOCK + 1)).tolist()
    users, is_buying = sessions.users.tolist(), sessions.is_buying.tolist()
    for row in range(BLOCK):
        span = slice(bounds[row], bounds[row + 1])
        columns = zip(timestamps[span], range(MOST_VIEWS * len(_KINDS)), kinds[span], items[span], strict=False)
        yield Plan(number + row, users[row], is_buying[row], [Step(*step) for step in columns])
