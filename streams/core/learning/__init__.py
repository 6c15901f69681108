"""The Learning fold: a row for each target or policy, updated from the examples that Behaviour publishes."""

from streams.core.learning.fold import LearningFold
from streams.core.learning.row import learner_view

__all__ = ["LearningFold", "learner_view"]
