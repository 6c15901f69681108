"""Names and order of the feature vector, with a fingerprint of them."""

import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from streams.contract.settings import Window
from streams.core.features.feature import Feature
from streams.core.features.vector import SHOPPER_FEATURES
from streams.core.features.windows import WINDOWED, windowed_features, windowed_name


class FeatureSchema(NamedTuple):
    """The feature vector's layout.

    Attributes:
        names: ``(n_features,)``.
        scaled: Whether a feature is a number to be scaled online; indicators are left as they are.
        groups: Group of each feature, ``(n_features,)``.
        fingerprint: Equal for equal layouts only (crc32 of the names).
    """

    names: tuple[str, ...]
    scaled: tuple[bool, ...]
    groups: tuple[str, ...]
    fingerprint: int


def shopper_features(windows: Sequence[Window]) -> tuple[Feature, ...]:
    """Lists the features of a shopper in the order of the vector: sums over the windows, then all others.

    >>> shopper_features([Window("5m", pane_s=60, panes=5)])[0]
    Feature(name='views_5m', type='number', group='views', words='views in the last 5 minutes')
    """
    return (*(feature for window in windows for feature in windowed_features(window)), *SHOPPER_FEATURES)


def feature_names(windows: Iterable[str]) -> tuple[str, ...]:
    """Names the features of a shopper by the names of the windows alone."""
    windowed = (windowed_name(each, window) for window in windows for each in WINDOWED)
    return (*windowed, *(feature.name for feature in SHOPPER_FEATURES))


def feature_schema(windows: Sequence[Window]) -> FeatureSchema:
    """Lays out the vector of a shopper."""
    return _laid_out(shopper_features(windows))


def schema_of(numbers: Sequence[str], indicators: Sequence[str]) -> FeatureSchema:
    """Lays out any vector: numbers first, to be scaled online, then indicators, left as they are.

    Each is a group of its own.

    >>> schema_of(["price"], ["price_missing"]).scaled
    (True, False)
    """
    return _laid_out(
        [
            *(Feature(name, "number", name, name) for name in numbers),
            *(Feature(name, "indicator", name, name) for name in indicators),
        ]
    )


def _laid_out(features: Sequence[Feature]) -> FeatureSchema:
    names = tuple(feature.name for feature in features)
    scaled = tuple(feature.is_scaled for feature in features)
    groups = tuple(feature.group for feature in features)
    return FeatureSchema(names, scaled, groups, zlib.crc32("\n".join(names).encode()))
