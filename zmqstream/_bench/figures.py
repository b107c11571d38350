"""Statistics of figures: medians, quantiles and spread."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

WIDE = 0.25  # the largest width of a result's middle half, as a part of its median
CURVE = (*(i / 100 for i in range(100)), 0.995, 0.999)  # the quantiles of a curve

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
    """The limits of the middle half. Of one value, they are the value."""
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
    """Whether these rounds differ too much for a result."""
    return spread(values) > WIDE
