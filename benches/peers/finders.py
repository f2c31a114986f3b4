"""Peers of the change-point detector: what finds changes in a list of values, by name.

Each finder returns the first samples after the changes, in order. Packages are called with the
settings of their own documentation; rules that have no package are written down here from their
published form. Nothing is timed or judged here.
"""

import csv
import math
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Callable

# Perfherder's windows, https://github.com/mozilla/treeherder `treeherder/perfalert`.
LEAST_BEFORE, MOST_BEFORE, AHEAD = 12, 24, 12
# Samples on either side of a place in the rank test.
SIDE = 15
# Samples that control limits are computed from, and quiet samples that end an excursion: of series, and
# of what comes every ten seconds, for which they are an hour and five minutes.
WINDOW, QUIET = 50, 10
LIVE_WINDOW, LIVE_QUIET = 360, 30


@dataclass(frozen=True)
class Peer:
    """A method, the packages that it needs, and what makes its finder."""

    name: str
    packages: tuple
    make: Callable

    def versions(self):
        """Versions of its packages; None when one is missing."""
        found = installed(self.packages)
        return found if len(found) == len(self.packages) else None


def installed(packages):
    """Versions of those packages that are there."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def read(path):
    """The series of a CSV file with the columns `series` and `value`, in order."""
    series = {}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            series.setdefault(row["series"], []).append(float(row["value"]))
    return series


def otava(p_value):
    """E-divisive with a t-test (Apache Otava, formerly Hunter), at its default window of 50."""
    from otava.analysis import compute_change_points

    def find(values):
        found = compute_change_points(values, window_len=50, max_pvalue=p_value, min_magnitude=0.0)[0]
        return [change.index for change in found]

    return find


def spread_of_differences(array):
    """The noise's deviation from the median absolute deviation of the differences; a step hardly moves it."""
    import numpy

    steps = numpy.diff(array)
    robust = 1.4826 * numpy.median(numpy.abs(steps - numpy.median(steps)))
    return (robust or numpy.std(steps)) / math.sqrt(2)


def deviation(array):
    """The series' own deviation, steps included."""
    import numpy

    return numpy.std(array)


def segments(kernel, penalty, spread):
    """Penalised segmentation by ruptures, in C: PELT with the squared error (`linear`), or a kernel's
    cost (`rbf`); the penalty is a multiple of ln n in units of the spread."""
    import numpy
    import ruptures

    def find(values):
        array = numpy.array(values)
        scale = spread(array)
        if not scale:
            return []
        scaled = (array / scale).reshape(-1, 1)
        search = ruptures.KernelCPD(kernel=kernel, min_size=2)
        return search.fit_predict(scaled, pen=penalty * math.log(len(values)))[:-1]

    return find


def rank_test(p_value):
    """Mann and Whitney's test of the samples before each place against those from it on."""
    import numpy
    from scipy.stats import mannwhitneyu

    def find(values):
        if len(values) < 2 * SIDE:
            return []
        windows = numpy.lib.stride_tricks.sliding_window_view(numpy.array(values), SIDE)
        # Equal values on both sides have no variance, hence no p-value: no change.
        with numpy.errstate(divide="ignore", invalid="ignore"):
            test = mannwhitneyu(windows[:-SIDE], windows[SIDE:], axis=1, method="asymptotic")
        return least_of_each_run(numpy.nan_to_num(test.pvalue, nan=1.0).tolist(), p_value)

    return find


def least_of_each_run(p_values, limit):
    """Of significant places less than a window apart, the one with the least p-value."""
    runs = []
    for place, p_value in enumerate(p_values, SIDE):
        if p_value >= limit:
            continue
        if runs and place - runs[-1][-1][1] <= SIDE:
            runs[-1].append((p_value, place))
        else:
            runs.append([(p_value, place)])
    return [min(run)[1] for run in runs]


def perfherder(threshold):
    """Mozilla's rule: t of means whose weights fall off linearly with the distance from the place, of 12
    to 24 samples before and 12 after; a change is a local maximum beyond the threshold."""

    def find(values):
        ts, quiet = [0.0], 0
        for place in range(1, len(values)):
            before = min(max(quiet, LEAST_BEFORE), MOST_BEFORE)
            ts.append(weighted_t(values[max(0, place - before) : place][::-1], values[place : place + AHEAD]))
            quiet = 0 if ts[-1] > threshold else quiet + 1
        whole = range(LEAST_BEFORE, len(values) - AHEAD + 1)
        return [at for at in whole if ts[at] > threshold and ts[at] == max(ts[at - 1 : at + 2])]

    return find


def weighted_t(before, after):
    (low, low_error), (high, high_error) = weighted(before), weighted(after)
    if low == high:
        return 0.0
    error = low_error + high_error
    return abs(high - low) / math.sqrt(error) if error else math.inf


def weighted(values):
    """The weighted mean, and the variance around it over the number of samples."""
    n = len(values)
    mean = sum((n - place) * value for place, value in enumerate(values)) / (n * (n + 1) / 2)
    squares = sum((value - mean) ** 2 for value in values)
    return mean, squares / (n - 1) / n if n > 1 else 0.0


def control_limits(deviations, window=WINDOW, quiet=QUIET, weight=1.0):
    """Control limits of so many deviations around the mean of the samples in a window before. With a
    weight below 1 they hold for the exponentially weighted mean, whose own deviation is less by
    √(weight / (2 - weight)) (Roberts 1959). What follows soon after the last excursion is the same one."""

    def find(values):
        found, last, smooth = [], -math.inf, 0.0
        limit = deviations * math.sqrt(weight / (2 - weight))
        # Sums are taken around the first value, or the squares of high levels lose the digits that count.
        values = [value - values[0] for value in values]
        total, squares = sum(values[:window]), sum(value * value for value in values[:window])
        for place, value in enumerate(values):
            smooth += weight * (value - smooth)
            if place < window:
                continue
            mean = total / window
            variance = max(squares / window - mean * mean, 0.0)
            if abs(smooth - mean) > limit * math.sqrt(variance):
                if place - last > quiet:
                    found.append(place)
                last = place
            oldest = values[place - window]
            total += value - oldest
            squares += value * value - oldest * oldest
        return found

    return find


RUPTURES = ("ruptures", "numpy")
PEERS = [
    Peer("Apache Otava, p = .001", ("apache-otava",), lambda: otava(0.001)),
    Peer("Apache Otava, p = 1e-6", ("apache-otava",), lambda: otava(1e-6)),
    Peer("ruptures PELT-l2, 2 σ² ln n", RUPTURES, lambda: segments("linear", 2, spread_of_differences)),
    Peer("ruptures PELT-l2 on z-scores, 3 ln n", RUPTURES, lambda: segments("linear", 3, deviation)),
    Peer("ruptures kernel rbf, ln n", RUPTURES, lambda: segments("rbf", 1, spread_of_differences)),
    Peer("Mann-Whitney 15 against 15, p = 1e-4", ("scipy", "numpy"), lambda: rank_test(1e-4)),
    Peer("Perfherder's t > 7", (), lambda: perfherder(7.0)),
    Peer("mean ± 3 σ of the 50 before", (), lambda: control_limits(3.0)),
]

# Of what is live. Change-point methods need what comes after.
LIVE_PEERS = [
    Peer("mean ± 3 σ of the hour before", (), lambda: control_limits(3.0, LIVE_WINDOW, LIVE_QUIET)),
    Peer("mean ± 5 σ of the hour before", (), lambda: control_limits(5.0, LIVE_WINDOW, LIVE_QUIET)),
    Peer("EWMA chart, weight .2, ± 3 σ", (), lambda: control_limits(3.0, LIVE_WINDOW, LIVE_QUIET, 0.2)),
    Peer("EWMA chart, weight .2, ± 5 σ", (), lambda: control_limits(5.0, LIVE_WINDOW, LIVE_QUIET, 0.2)),
]
