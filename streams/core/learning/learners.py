"""Three kinds of learners: a target's family, a bandit's reward model, the Q agent's table."""

import zlib
from collections.abc import Collection
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from streams.contract.arrays import Arrays
from streams.contract.errors import RejectedRecord
from streams.contract.rules import RULES
from streams.contract.settings import Decisions, Settings, Target
from streams.contract.topics import Q_AGENT
from streams.core.features.schema import feature_schema
from streams.core.learning.examples import Examples
from streams.core.models.examination import N_POSITIONS, examination
from streams.core.models.family import Family, Served
from streams.core.models.ridge import Ridge
from streams.core.policies import q_agent
from streams.core.policies.features import FEATURES


class Learner(Protocol):
    """What the fold asks of each kind.

    Attributes:
        layout: Fingerprint of what its state and its parameters are laid out by.
        is_amount: Whether labels are amounts of a target, and not 0 or 1.
    """

    layout: int
    is_amount: bool

    @property
    def champion(self) -> str:
        """The member whose parameters serve."""
        ...

    def check(self, examples: Examples) -> None:
        """Refuses examples that it cannot learn from.

        Raises:
            RejectedRecord: with reason ``malformed``.
        """
        ...

    def learn_many(self, examples: Examples) -> None:
        """Measures what was served, then learns, row by row."""
        ...

    def demote(self, gone: Collection[str]) -> None:
        """Lets another member serve where the champion is one of those that are left out."""
        ...

    def parameters(self) -> dict[str, Arrays]:
        """What each member scores with."""
        ...

    def quality(self) -> dict[str, dict[str, Any]]:
        """How good each member has been; empty where rewards alone say it."""
        ...

    def standing(self) -> dict[str, Any]:
        """How often the champion has changed, and what is known of drift; empty where there is only one member."""
        ...

    def arrays(self) -> tuple[Arrays, Arrays]:
        """Everything it goes on from: what it has learned, and what its evaluation has counted."""
        ...

    def restore(self, state: Arrays, evaluation: Arrays) -> None: ...


def new_learner(name: str, settings: Settings) -> Learner:
    """Builds a learner that has learned nothing; ``name`` is one of ``settings.learners``."""
    if name == Q_AGENT:
        return QLearner(settings.decisions)
    if name in settings.decisions.learners:
        return BanditLearner(name, settings.decisions)
    return TargetLearner(next(target for target in settings.targets if target.name == name), settings)


class TargetLearner:
    """Predicts a target; vectors are those of :func:`~streams.core.features.schema.feature_schema`.

    Labels are 0 or 1, or amounts, as the target's rule says.
    """

    def __init__(self, target: Target, settings: Settings) -> None:
        schema = feature_schema(settings.windows)
        self._n_columns = len(schema.names)
        self._family = Family(target, schema, settings.seed)
        self._corrects = target.labels == "correct"
        self.is_amount = RULES[target.rule].is_amount
        self.layout = schema.fingerprint

    @property
    def champion(self) -> str:
        return self._family.champion

    def check(self, examples: Examples) -> None:
        _refuse_columns(examples, self._n_columns)
        if self.is_amount:
            if (examples.labels < 0.0).any():
                raise RejectedRecord("malformed", "an amount is below 0")
            return
        if ((examples.labels != 0.0) & (examples.labels != 1.0)).any():
            raise RejectedRecord("malformed", "a label is neither 0 nor 1")
        if (examples.probabilities > 1.0).any():
            raise RejectedRecord("malformed", "a probability is not between 0 and 1")

    def learn_many(self, examples: Examples) -> None:
        if not self._corrects:
            final = examples.where(examples.final)
            self._measure(final)
            served = Served(final.members, final.probabilities)
            self._family.learn_many(final.vectors, final.labels, final.weights, served, final.chances)
            return
        # What is learned and what is measured take turns, so that the order of the examples is all that matters.
        turns = np.flatnonzero(np.diff(examples.final)) + 1
        for rows in np.split(np.arange(examples.size), turns):
            part = examples.where(rows)
            if not part.final[0]:
                self._family.learn_many(part.vectors, part.labels, part.weights)
                continue
            # A fresh challenger's patience ends at an example, wherever the batch does.
            step = 1 if self._family.renewing else part.size
            for start in range(0, part.size, step):
                some = part.where(slice(start, start + step))
                self._measure(some)
                self._family.learn_blend(Served(some.members, some.probabilities), some.labels, some.weights)

    def _measure(self, examples: Examples) -> None:
        self._family.evaluate(
            examples.members, examples.probabilities, examples.labels, examples.weights, examples.timestamps_ms
        )

    def demote(self, gone: Collection[str]) -> None:
        self._family.demote(gone)

    def parameters(self) -> dict[str, Arrays]:
        return self._family.parameters()

    def quality(self) -> dict[str, dict[str, Any]]:
        return self._family.quality()

    def standing(self) -> dict[str, Any]:
        return self._family.standing()

    def arrays(self) -> tuple[Arrays, Arrays]:
        return self._family.arrays(), self._family.evaluation_arrays()

    def restore(self, state: Arrays, evaluation: Arrays) -> None:
        self._family.restore(state, evaluation)


class BanditLearner:
    """Models a click as examination of the slot times appeal of the item, linear in its features.

    Vectors are the policies' ``FEATURES``, then position and whether the user is on the control; labels are rewards.
    Examination is estimated from the control alone, whose items do not depend on the slot; a policy that learns from
    its own slates learns nothing else from the control's.
    """

    champion = "ridge"
    is_amount = False
    layout = zlib.crc32("\n".join(FEATURES).encode())

    def __init__(self, name: str, decisions: Decisions) -> None:
        self._from_own = decisions.learns_from_own(name)
        self._ridge = Ridge(len(FEATURES), N_POSITIONS, decisions.discount(name))
        self._shown = np.zeros(N_POSITIONS)
        self._clicked = np.zeros(N_POSITIONS)

    def check(self, examples: Examples) -> None:
        _refuse_columns(examples, len(FEATURES) + 2)
        _refuse_other_than_whole(examples.vectors[:, -2], 0, N_POSITIONS, "position")
        _refuse_other_than_whole(examples.vectors[:, -1], 0, 2, "is_control")

    def learn_many(self, examples: Examples) -> None:
        vectors, rewards, weights = examples.vectors.astype(np.float64), examples.labels, examples.weights
        positions, is_control = vectors[:, -2].astype(np.int64), vectors[:, -1] > 0.0
        np.add.at(self._shown, positions[is_control], weights[is_control])
        np.add.at(self._clicked, positions[is_control], weights[is_control] * rewards[is_control])
        learned = ~is_control if self._from_own else slice(None)
        self._ridge.learn_many(vectors[learned, :-2], positions[learned], rewards[learned], weights[learned])

    def demote(self, gone: Collection[str]) -> None:
        pass

    def parameters(self) -> dict[str, Arrays]:
        looked_at = examination(self._shown, self._clicked)
        return {
            self.champion: {
                "theta": self._ridge.coefficients(looked_at),
                "factor": self._ridge.factor(looked_at),
                "examination": looked_at,
                "examples": np.array([self._ridge.weight]),
            }
        }

    def quality(self) -> dict[str, dict[str, Any]]:
        return {}

    def standing(self) -> dict[str, Any]:
        return {}

    def arrays(self) -> tuple[Arrays, Arrays]:
        return self._ridge.arrays() | {"shown": self._shown, "clicked": self._clicked}, {}

    def restore(self, state: Arrays, evaluation: Arrays) -> None:
        self._ridge.restore(state)
        self._shown = state["shown"]
        self._clicked = state["clicked"]


class QLearner:
    """Values kinds of recommendation, and showing nothing, by session state.

    Vectors are state, action, next state (-1 at the end) and the bitmask of the actions that are available there.
    """

    champion = "table"
    is_amount = False
    layout = zlib.crc32(f"{q_agent.N_STATES} {q_agent.N_ACTIONS}".encode())

    def __init__(self, decisions: Decisions) -> None:
        self._gamma = decisions.q_gamma
        self._learning_rate = decisions.q_learning_rate
        self._table = np.zeros((q_agent.N_STATES, q_agent.N_ACTIONS))
        self._visits = np.zeros((q_agent.N_STATES, q_agent.N_ACTIONS), np.int64)

    def check(self, examples: Examples) -> None:
        _refuse_columns(examples, 4)
        _refuse_other_than_whole(examples.vectors[:, 0], 0, q_agent.N_STATES, "state")
        _refuse_other_than_whole(examples.vectors[:, 1], 0, q_agent.N_ACTIONS, "action")
        _refuse_other_than_whole(examples.vectors[:, 2], -1, q_agent.N_STATES, "next_state")
        _refuse_other_than_whole(examples.vectors[:, 3], 0, 1 << q_agent.N_ACTIONS, "next_mask")
        if ((examples.vectors[:, 2] >= 0) & (examples.vectors[:, 3] == 0)).any():
            raise RejectedRecord("malformed", "a next state leaves nothing to choose from")

    def learn_many(self, examples: Examples) -> None:
        steps = examples.vectors.astype(np.int64).tolist()
        for (state, action, next_state, next_mask), reward in zip(steps, examples.labels.tolist(), strict=True):
            q_agent.learn(
                self._table,
                self._visits,
                state,
                action,
                reward,
                next_state,
                next_mask,
                self._gamma,
                self._learning_rate,
            )

    def demote(self, gone: Collection[str]) -> None:
        pass

    def parameters(self) -> dict[str, Arrays]:
        return {self.champion: {"table": self._table, "visits": self._visits}}

    def quality(self) -> dict[str, dict[str, Any]]:
        return {}

    def standing(self) -> dict[str, Any]:
        return {}

    def arrays(self) -> tuple[Arrays, Arrays]:
        return {"table": self._table, "visits": self._visits}, {}

    def restore(self, state: Arrays, evaluation: Arrays) -> None:
        self._table = state["table"]
        self._visits = state["visits"]


def _refuse_columns(examples: Examples, wanted: int) -> None:
    columns = examples.vectors.shape[1]
    if columns != wanted:
        raise RejectedRecord("malformed", f"{examples.learner} learns from {wanted} columns, not {columns}")


def _refuse_other_than_whole(values: NDArray[np.float32], least: int, bound: int, name: str) -> None:
    if ((values != np.floor(values)) | (values < least) | (values >= bound)).any():
        raise RejectedRecord("malformed", f"a {name} is not a whole number from {least} to {bound - 1}")
