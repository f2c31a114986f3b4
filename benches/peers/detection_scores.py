"""What a detector's alarms are worth on series whose changes are known: rates with exact limits, and
power less what chance finds. Pure functions; nothing is run here.
"""

import math
from dataclasses import dataclass
from statistics import fmean, variance

# What an interval at 95 % leaves beyond either end.
BEYOND = 0.025


@dataclass(frozen=True)
class Rate:
    """Alarms per unchanged series and the share of series with any, each with its upper limit."""

    series: int
    alarms: int
    alarmed: int

    @property
    def per_series(self):
        return self.alarms / self.series

    @property
    def per_series_limit(self):
        return poisson_limit(self.alarms) / self.series

    @property
    def share(self):
        return self.alarmed / self.series

    @property
    def share_limit(self):
        return binomial_limit(self.alarmed, self.series)


@dataclass(frozen=True)
class Power:
    """Share of steps that were found, what was found in the same noise without them, and the difference
    with its standard error."""

    found: float
    placebo: float
    net: float
    error: float


def rate(found):
    """The rate of lists of alarms, one for each unchanged series."""
    counts = [len(alarms) for alarms in found]
    return Rate(len(counts), sum(counts), sum(count > 0 for count in counts))


def power(pairs_by_kind):
    """Of pairs (found, found in the counterpart without the step), grouped by kind; every kind counts
    alike. The error is that of a stratified mean of paired differences."""
    kinds = [[(bool(hit), bool(placebo)) for hit, placebo in pairs] for pairs in pairs_by_kind]
    differences = [[hit - placebo for hit, placebo in pairs] for pairs in kinds]
    found = fmean(fmean(hit for hit, _ in pairs) for pairs in kinds)
    placebo = fmean(fmean(placebo for _, placebo in pairs) for pairs in kinds)
    squares = [variance(each) / len(each) for each in differences if len(each) > 1]
    return Power(found, placebo, fmean(map(fmean, differences)), math.sqrt(sum(squares)) / len(kinds))


def is_found(alarms, first, before, after):
    """Whether an alarm lies at most so many samples before or after the first one of what happened."""
    return any(first - before <= alarm <= first + after for alarm in alarms)


def poisson_limit(count):
    """The exact upper limit of a Poisson mean behind a count, from the interval at 95 % (Garwood 1936)."""
    return _root(lambda mean: _poisson_below(count, mean), count, 2.0 * count + 10.0)


def binomial_limit(hits, trials):
    """The exact upper limit of the share behind hits of trials (Clopper and Pearson 1934)."""
    if hits == trials:
        return 1.0
    return _root(lambda share: _binomial_below(hits, trials, share), hits / trials, 1.0)


def _root(tail, low, high):
    """Where a falling tail probability reaches what is left beyond the interval."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if tail(middle) > BEYOND else (low, middle)
    return (low + high) / 2


def _poisson_below(count, mean):
    """P(X ≤ count). Terms are taken from the largest down, until they no longer count."""
    term = math.exp(count * math.log(mean) - mean - math.lgamma(count + 1)) if mean > 0 else 1.0
    total, left = term, count
    while left > 0 and term > 1e-17 * total:
        term *= left / mean
        total += term
        left -= 1
    return total


def _binomial_below(hits, trials, share):
    """P(X ≤ hits), for a share above that of the hits."""
    if share >= 1.0:
        return 0.0
    if share <= 0.0:
        return 1.0
    choose = math.lgamma(trials + 1) - math.lgamma(hits + 1) - math.lgamma(trials - hits + 1)
    term = math.exp(choose + hits * math.log(share) + (trials - hits) * math.log1p(-share))
    total, left = term, hits
    while left > 0 and term > 1e-17 * total:
        term *= left / (trials - left + 1) * (1.0 - share) / share
        total += term
        left -= 1
    return total
