"""One file a fold: its Faust agent and its table."""

from typing import Final

FOLDS: Final = {
    "behaviour": "streams.agents.behaviour:add_behaviour",
    "items": "streams.agents.items:add_items",
    "learning": "streams.agents.learning:add_learning",
}
"""Fold to ``module:function`` that adds it to an app; commands list the names without importing Faust."""
