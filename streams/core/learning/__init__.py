"""The Learning fold: a row per target or policy, changed by the experiences that Behaviour sends."""

from streams.core.learning.fold import LearningFold
from streams.core.learning.row import render_learner

__all__ = ["LearningFold", "render_learner"]
