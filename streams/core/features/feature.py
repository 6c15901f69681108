"""The description of one feature of a shopper."""

from typing import Literal, NamedTuple

FeatureType = Literal["number", "indicator"]


class Feature(NamedTuple):
    """One column of the feature vector.

    Attributes:
        type: A number is scaled online; an indicator is left as it is.
        group: Features of one group are one reason, see :mod:`streams.core.features.groups`.
        words: A short phrase to display.
    """

    name: str
    type: FeatureType
    group: str
    words: str

    @property
    def is_scaled(self) -> bool:
        """Tells whether models see it scaled."""
        return self.type == "number"
