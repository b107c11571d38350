"""What is done with figures: medians, quantiles, spread, and when that is too wide."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

WIDE = 0.25  # a result whose middle half is wider, as a part of its median, says nothing
CURVE = (*(i / 100 for i in range(100)), 0.995, 0.999)  # the quantiles that a curve has

median = statistics.median


def quantile(values: Sequence[float], part: float) -> float:
    """The value that `part` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def curve(values: Sequence[float]) -> tuple[float, ...]:
    """The distribution, as the quantiles CURVE."""
    ordered = sorted(values)
    return tuple(ordered[min(len(ordered) - 1, int(part * len(ordered)))] for part in CURVE)


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """What the middle half lies between; of one value, itself."""
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def spread(values: Sequence[float]) -> float:
    """The width of the middle half, as a part of the median: one bad round of five is outside."""
    low, high = quartiles(values)
    middle = median(values)
    return (high - low) / middle if middle else 0.0


def scattered(values: Sequence[float]) -> bool:
    """Whether a result with these rounds is no result."""
    return spread(values) > WIDE
