"""Ratios of interleaved pairs, with what they may be by chance.

The median of the pairs' ratios, and the 95 % percentile interval of that median over bootstrap
resamples of the pairs (Efron 1979) with a fixed seed: the same runs give the same interval. The worse
end of it is what a goal is held against.
"""

import random
from dataclasses import dataclass
from statistics import median

SEED = 20261
RESAMPLES = 10_000
# Fewer pairs have an interval that says nothing.
LEAST_PAIRS = 5


@dataclass(frozen=True)
class Ratio:
    """A median with its interval; more is better. Without enough pairs there is no interval."""

    pairs: int
    median: float | None
    low: float | None
    high: float | None

    def verdict(self, goal):
        """Whether the worse end reaches a goal."""
        if goal is None:
            return "-"
        if self.low is None:
            return "too few pairs"
        if self.low >= goal:
            return "met"
        return "missed" if self.high < goal else "not shown"


def of(ratios):
    """The median of ratios and its interval."""
    ratios = list(ratios)
    if not ratios:
        return Ratio(0, None, None, None)
    middle = median(ratios)
    if len(ratios) < LEAST_PAIRS:
        return Ratio(len(ratios), middle, None, None)
    source = random.Random(SEED)
    medians = sorted(median(source.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    low = medians[round(RESAMPLES * 0.025)]
    return Ratio(len(ratios), middle, low, medians[round(RESAMPLES * 0.975) - 1])
