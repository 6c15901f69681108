"""Learners of three kinds: the models of a target, a bandit's reward model, the Q agent's table."""

import zlib
from collections.abc import Collection
from typing import Final, Protocol

import numpy as np

from streams.contract.arrays import Arrays, Float32Array
from streams.contract.errors import RejectedRecord
from streams.contract.label_rules import RULES
from streams.contract.metrics import AmountModels, LearnerQuality, ProbabilityModels, Rewards
from streams.contract.settings import Decisions, Settings, Target
from streams.contract.topics import Q_AGENT
from streams.core.features.schema import feature_schema
from streams.core.learning.examples import Examples, Outcomes
from streams.core.learning.row import LearnerRow
from streams.core.models.ridge import N_POSITIONS, Ridge, examination
from streams.core.models.target_models import Served, TargetModels
from streams.core.policies import q_agent
from streams.core.policies.slate_features import FINGERPRINT, N_FEATURES


class Learner(Protocol):
    """Interface of a learner.

    Attributes:
        layout: Fingerprint of the columns that its state and parameters belong to.
    """

    layout: int

    @property
    def champion(self) -> str:
        """The model of the greatest weight."""
        ...

    @property
    def weights(self) -> dict[str, float]:
        """Weights of the models in what is served."""
        ...

    def check(self, examples: Examples) -> None:
        """Refuses examples that it cannot learn from.

        Raises:
            RejectedRecord: with reason ``malformed``.
        """
        ...

    def measure(self, outcomes: Outcomes) -> None:
        """Measures all that was served, whether it is learned from or not."""
        ...

    def learn_many(self, examples: Examples) -> None:
        """Compares the models' predictions, then learns, row by row."""
        ...

    def demote(self, gone: Collection[str]) -> None:
        """Takes the weights of the models in ``gone``, which are not exported."""
        ...

    def parameters(self) -> dict[str, Arrays]:
        """Exports what scoring needs, by model."""
        ...

    def quality(self, row: LearnerRow) -> LearnerQuality:
        """Returns the quality so far; ``row`` holds the sums of the labels and rewards learned from."""
        ...

    def arrays(self) -> tuple[Arrays, Arrays]:
        """Exports the whole state for :meth:`restore`: parameters, and sums of the evaluation."""
        ...

    def restore(self, state: Arrays, evaluation: Arrays) -> None: ...


def new_learner(name: str, settings: Settings) -> Learner:
    """Builds a new learner; ``name`` is one of ``settings.learners``."""
    if name == Q_AGENT:
        return QLearner(settings.decisions)
    if name in settings.decisions.learners:
        return BanditLearner(name, settings.decisions)
    return TargetLearner(next(target for target in settings.targets if target.name == name), settings)


OVERLAP: Final = 10.0
"""Served predictions whose horizons overlap that tell a model as much as one independent example.

They share their outcomes. Design effects of 10 to 17 were measured on the synthetic shops and on Taobao's log; see Kish
(1965), "Survey Sampling", section 8.2.
"""


class TargetLearner:
    """Learner of a target; vectors are those of :func:`~streams.core.features.schema.feature_schema`.

    Labels are 0 or 1, or amounts, depending on the target's rule. The weights say how many served predictions an
    example stands for. Models take an example of weight 1 as an independent one, so the weights are divided by
    :data:`OVERLAP`, or by ``1 / sampling_rate`` where that is more or nothing overlaps.
    """

    def __init__(self, target: Target, settings: Settings) -> None:
        schema = feature_schema(settings.windows)
        self._n_columns = len(schema.names)
        self._corrects = target.labels == "correct"
        self._is_amount = RULES[target.rule].is_amount
        overlap = OVERLAP if RULES[target.rule].opens_at == "event" and target.label != "click" else 1.0
        self._unit = min(target.sampling_rate, 1.0 / overlap)
        self._models = TargetModels(target, schema, settings.seed, self._unit)
        self.layout = schema.fingerprint

    @property
    def champion(self) -> str:
        return self._models.champion

    @property
    def weights(self) -> dict[str, float]:
        return self._models.weights

    def check(self, examples: Examples) -> None:
        _refuse_columns(examples, self._n_columns)
        if examples.size and not examples.models:
            raise RejectedRecord("malformed", "models is empty; the first one is what was served")
        if examples.reward_types:
            raise RejectedRecord("malformed", f"{examples.learner} learns from labels, not from rewards")
        outcomes = examples.outcomes
        labels = np.concatenate([examples.labels, outcomes.labels])
        if self._is_amount:
            if (labels < 0.0).any():
                raise RejectedRecord("malformed", "an amount is below 0")
            return
        if ((labels != 0.0) & (labels != 1.0)).any():
            raise RejectedRecord("malformed", "a label is neither 0 nor 1")
        if (examples.probabilities > 1.0).any() or (outcomes.served > 1.0).any():
            raise RejectedRecord("malformed", "a probability is not between 0 and 1")

    def measure(self, outcomes: Outcomes) -> None:
        self._models.served.update(outcomes.served, outcomes.labels, outcomes.groups, outcomes.from_prior)

    def learn_many(self, examples: Examples) -> None:
        if not self._corrects:
            final = examples.where(examples.final)
            self._measure(final)
            served = Served(final.models, final.probabilities)
            weights = final.weights * self._unit
            self._models.learn_many(final.vectors, final.labels, weights, served, final.uniforms)
            return
        # Learning and measuring alternate in the order of the examples, so that batch boundaries have no effect.
        bounds = np.flatnonzero(np.diff(examples.final)) + 1
        for rows in np.split(np.arange(examples.size), bounds):
            part = examples.where(rows)
            if not part.final[0]:
                self._models.learn_many(part.vectors, part.labels, part.weights * self._unit)
                continue
            # A replacement is dropped at an exact example, independent of batch boundaries.
            step = 1 if self._models.has_replacement else part.size
            for start in range(0, part.size, step):
                chunk = part.where(slice(start, start + step))
                self._measure(chunk)
                served = Served(chunk.models, chunk.probabilities)
                self._models.learn_blend(served, chunk.labels, chunk.weights * self._unit)

    def _measure(self, examples: Examples) -> None:
        self._models.evaluate(
            examples.models, examples.probabilities, examples.labels, examples.weights, examples.timestamps_ms
        )

    def demote(self, gone: Collection[str]) -> None:
        self._models.demote(gone)

    def parameters(self) -> dict[str, Arrays]:
        return self._models.parameters()

    def quality(self, row: LearnerRow) -> ProbabilityModels | AmountModels:
        return self._models.quality(row.label_sum)

    def arrays(self) -> tuple[Arrays, Arrays]:
        return self._models.arrays(), self._models.evaluation_arrays()

    def restore(self, state: Arrays, evaluation: Arrays) -> None:
        self._models.restore(state, evaluation)


class _RewardLearner:
    """A learner of rewards, with one model; nothing that it serves is a prediction with a label."""

    champion: str

    @property
    def weights(self) -> dict[str, float]:
        return {self.champion: 1.0}

    def measure(self, outcomes: Outcomes) -> None:
        pass

    def demote(self, gone: Collection[str]) -> None:
        pass

    def quality(self, row: LearnerRow) -> Rewards:
        by_type = {type_: total / row.examples for type_, total in row.reward_sums.items()}
        return Rewards(mean_reward=row.label_sum / row.examples, mean_reward_by_type=by_type)


class BanditLearner(_RewardLearner):
    """Learner of a click model: examination of the slot times appeal of the item, linear in its features.

    Vectors are the slate features, then position and whether the user is on the control; labels are rewards.
    Examination is estimated from the control alone, whose items do not depend on the slot. For a policy that learns
    from its own slates, the control's slates serve this purpose only.
    """

    champion = "ridge"
    layout = FINGERPRINT

    def __init__(self, name: str, decisions: Decisions) -> None:
        self._from_own = decisions.learns_from_own(name)
        self._ridge = Ridge(N_FEATURES, N_POSITIONS, decisions.discount(name))
        self._shown = np.zeros(N_POSITIONS)
        self._clicked = np.zeros(N_POSITIONS)

    def check(self, examples: Examples) -> None:
        _refuse_columns(examples, N_FEATURES + 2)
        _refuse_other_than_whole(examples.vectors[:, -2], 0, N_POSITIONS, "position")
        _refuse_other_than_whole(examples.vectors[:, -1], 0, 2, "is_control")

    def learn_many(self, examples: Examples) -> None:
        vectors, rewards, weights = examples.vectors.astype(np.float64), examples.labels, examples.weights
        positions, is_control = vectors[:, -2].astype(np.int64), vectors[:, -1] > 0.0
        np.add.at(self._shown, positions[is_control], weights[is_control])
        np.add.at(self._clicked, positions[is_control], weights[is_control] * rewards[is_control])
        learned = ~is_control if self._from_own else slice(None)
        self._ridge.learn_many(vectors[learned, :-2], positions[learned], rewards[learned], weights[learned])

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

    def arrays(self) -> tuple[Arrays, Arrays]:
        return self._ridge.arrays() | {"shown": self._shown, "clicked": self._clicked}, {}

    def restore(self, state: Arrays, evaluation: Arrays) -> None:
        self._ridge.restore(state)
        self._shown = state["shown"]
        self._clicked = state["clicked"]


class QLearner(_RewardLearner):
    """Learner of the Q agent's values of candidate sources, and of showing nothing, by session state.

    Vectors are state, action, next state (-1 at the end) and the bitmask of the actions that are available there.
    """

    champion = "table"
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
            raise RejectedRecord("malformed", "a next_mask is 0, but every next state has an available action")

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

    def parameters(self) -> dict[str, Arrays]:
        return {self.champion: {"table": self._table, "visits": self._visits}}

    def arrays(self) -> tuple[Arrays, Arrays]:
        return {"table": self._table, "visits": self._visits}, {}

    def restore(self, state: Arrays, evaluation: Arrays) -> None:
        self._table = state["table"]
        self._visits = state["visits"]


def _refuse_columns(examples: Examples, expected: int) -> None:
    columns = examples.vectors.shape[1]
    if columns != expected:
        raise RejectedRecord("malformed", f"{examples.learner} learns from {expected} columns, not {columns}")


def _refuse_other_than_whole(values: Float32Array, least: int, bound: int, name: str) -> None:
    if ((values != np.floor(values)) | (values < least) | (values >= bound)).any():
        raise RejectedRecord("malformed", f"a {name} is not a whole number from {least} to {bound - 1}")
