"""What shoppers do of their own accord: sessions, planned whole and by the block, in the order they start.

A plan does not depend on what is recommended, so one seed gives the same organic events to every policy. Planning a
block at a time keeps numpy busy: a session alone would cost more than all its events.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from producers.simulator.behaviour import (
    cart_probabilities,
    direct_purchase_probabilities,
    purchase_probabilities,
    sigmoid,
)
from producers.simulator.parameters import SimulationParameters
from producers.simulator.population import Booleans, Floats, Integers, Population
from streams.contract.events import Kind

BLOCK: Final = 512

_KINDS: Final[tuple[Kind, ...]] = ("search", "view", "add_to_cart", "remove_from_cart", "purchase")
_SEARCH, _VIEW, _CART, _REMOVE, _PURCHASE = range(len(_KINDS))

_MOST_VIEWS: Final = 24
_CANDIDATES: Final = 16
_BUYING_BIAS: Final = -1.8
_PAUSE_MS: Final = 600_000
"""A user's next session starts at the earliest so long after the last one."""

_DAY_S: Final = 86_400.0
_PEAK_S: Final = 20 * 3600.0
_RHYTHM: Final = 0.5


class Step(NamedTuple):
    """One thing that a shopper is going to do; steps of a session go by time, then by ``order``, which is unique."""

    timestamp_ms: int
    order: int
    kind: Kind
    item: int
    decision_id: str | None = None
    position: int | None = None


class Plan(NamedTuple):
    """One session as it goes when nothing is recommended.

    Attributes:
        number: Counts the sessions that were drawn, from 0.
        steps: In order.
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
    """Plans sessions without end, ordered by their start; no two of one user overlap."""
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
            # A shopper who is still busy does not start another session; the next block makes up for the lost events.
            if plan.steps[0].timestamp_ms < busy_until_ms[plan.user]:
                continue
            busy_until_ms[plan.user] = plan.steps[-1].timestamp_ms + _PAUSE_MS
            accepted += len(plan.steps)
            yield plan
        number += BLOCK
        accepted_share = max(0.05, accepted / len(steps.rows))


def steady_seconds(clock_s: Floats) -> Floats:
    """Turns time of the clock into time in which sessions start at a steady rate: faster by day than by night."""
    phase = 2.0 * np.pi / _DAY_S
    swing = np.sin(phase * (clock_s - _PEAK_S)) + np.sin(phase * _PEAK_S)
    steady: Floats = clock_s + _RHYTHM / phase * swing
    return steady


def clock_seconds(steady_s: Floats) -> Floats:
    """Turns steady time back into time of the clock, within a second."""
    minutes = np.arange(0.0, _DAY_S + 60.0, 60.0)
    days = np.floor(steady_s / _DAY_S) * _DAY_S
    clock: Floats = days + np.interp(steady_s - days, steady_seconds(minutes), minutes)
    return clock


def _draw_sessions(rng: np.random.Generator, population: Population) -> _Sessions:
    users = np.searchsorted(population.user_shares, rng.random(BLOCK))
    categories = (population.user_category_shares[users] < rng.random((BLOCK, 1))).sum(axis=1)
    is_buying = rng.random(BLOCK) < sigmoid(_BUYING_BIAS + population.user_resolutions[users])
    return _Sessions(users, categories, is_buying)


def _draw_steps(rng: np.random.Generator, population: Population, sessions: _Sessions) -> _Steps:
    buying = sessions.is_buying[:, None]
    n_views = np.minimum(2 + rng.geometric(np.where(sessions.is_buying, 0.10, 0.13)), _MOST_VIEWS)
    viewed = np.arange(_MOST_VIEWS) < n_views[:, None]
    items, is_repeat = _draw_items(rng, population, sessions)
    shape = items.shape
    gaps_ms = 4000 + 1000 * rng.lognormal(np.log(np.where(buying, 24.0, 45.0)), 0.7, shape)
    is_first = np.arange(_MOST_VIEWS) == 0
    searches = viewed & (rng.random(shape) < np.where(is_first, 0.2 + 0.5 * buying, 0.04 + 0.05 * buying))
    # The gap of a view lies behind it; a search stands three seconds before the view it finds.
    views_ms = 3000 * searches[:, :1] + np.cumsum(gaps_ms, axis=1) - gaps_ms

    users = sessions.users[:, None]
    carts = viewed & (rng.random(shape) < cart_probabilities(population, users, items, buying, is_repeat))
    carts_ms = views_ms + 1600 + rng.random(shape) * np.minimum(0.5 * gaps_ms, 30_000)
    removals = carts & (rng.random(shape) < 0.12)
    removals_ms = carts_ms + 20_000 + rng.exponential(90_000, shape)
    bought = carts & ~removals & (rng.random(shape) < purchase_probabilities(population, users, items, buying))
    bought_ms = carts_ms + purchase_delays_ms(rng, shape)
    direct = viewed & ~carts
    direct &= rng.random(shape) < direct_purchase_probabilities(population, users, items, buying)
    direct_ms = views_ms + 20_000 + rng.exponential(40_000, shape)

    parts = (
        (_SEARCH, searches, views_ms - 3000),
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
    """Draws how long something lies in the cart before it is bought: minutes, 25 at the most."""
    delays: Floats = 1000.0 * np.clip(rng.lognormal(np.log(200.0), 0.8, shape), 20.0, 1500.0)
    return delays


def _draw_items(rng: np.random.Generator, population: Population, sessions: _Sessions) -> tuple[Integers, Booleans]:
    """Draws what is viewed: things close to an anchor, some of them again, some come across by chance.

    Returns:
        Items, and whether each was viewed before in the session; ``(n, _MOST_VIEWS)``.
    """
    candidates = _draw_candidates(rng, population, sessions)
    shape = (BLOCK, _MOST_VIEWS)
    is_fresh = rng.random(shape) > np.where(sessions.is_buying, 0.28, 0.15)[:, None]
    is_fresh[:, 0] = True
    latest = np.cumsum(is_fresh, axis=1) - 1
    earlier = (rng.random(shape) * (latest + 1)).astype(np.int64)
    choice = np.where(is_fresh, latest, earlier) % candidates.shape[1]
    items = np.take_along_axis(candidates, choice, axis=1)
    by_popularity = np.cumsum(np.exp(population.item_log_popularities))
    is_stray = rng.random(shape) < 0.08
    strays = np.searchsorted(by_popularity, rng.random(shape) * by_popularity[-1])
    return np.where(is_stray, strays, items), ~is_fresh & ~is_stray


def _draw_candidates(rng: np.random.Generator, population: Population, sessions: _Sessions) -> Integers:
    """Draws what a session is about: items of its category, near an anchor, without replacement, by Gumbel keys."""
    starts = population.category_starts
    sizes = np.diff(starts)
    slots = np.arange(sizes.max())
    is_item = slots < sizes[sessions.categories, None]
    items = np.where(is_item, starts[sessions.categories, None] + slots, 0)
    users = sessions.users[:, None]
    appeal = (
        0.9 * population.item_log_popularities[items]
        + 2.5 * population.affinity(users, items)
        - 0.9 * population.price_misfit(users, items)
    )
    keys = np.where(is_item, appeal + rng.gumbel(size=items.shape), -np.inf)
    anchors = np.take_along_axis(items, keys.argmax(axis=1)[:, None], axis=1)
    keys = 0.6 * appeal + 5.0 * population.closeness(anchors, items) + rng.gumbel(size=items.shape)
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
        columns = zip(timestamps[span], range(_MOST_VIEWS * len(_KINDS)), kinds[span], items[span], strict=False)
        yield Plan(number + row, users[row], is_buying[row], [Step(*step) for step in columns])
