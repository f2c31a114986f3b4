"""What the detection benchmark concludes from alarms: python3 -m unittest discover benches/peers"""

import math
import os
import random
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True

import detection
import detection_eval
import detection_scores
import finders

# A bench.py that keeps what it was asked; a method called `broken` fails.
BENCH = """
import argparse, json, os, sys
options = argparse.ArgumentParser()
for name in ("out", "cmd", "name", "peers", "tasks"):
    options.add_argument("--" + name)
asked = options.parse_args()
if asked.peers == "broken":
    sys.exit("no module named broken")
folder = os.path.join(asked.out, "public", "one")
os.makedirs(folder)
score = dict(name=asked.name or asked.peers, tasks=asked.tasks, cmd=asked.cmd)
json.dump(score, open(os.path.join(folder, "score.json"), "w"))
"""


def noise(seed, count, level=100.0, deviation=1.0):
    source = random.Random(seed)
    return [source.gauss(level, deviation) for _ in range(count)]


class Limits(unittest.TestCase):
    def test_poisson(self):
        # R: poisson.test(k)$conf.int[2]; of none it is -ln .025.
        self.assertAlmostEqual(detection_scores.poisson_limit(0), -math.log(0.025), places=9)
        self.assertAlmostEqual(detection_scores.poisson_limit(3), 8.767273, places=5)
        self.assertAlmostEqual(detection_scores.poisson_limit(87), 107.314, places=2)
        # Far out it is normal.
        self.assertAlmostEqual(detection_scores.poisson_limit(40_000) / (40_000 + 1.96 * 200), 1, places=3)

    def test_binomial(self):
        # R: binom.test(7, 20)$conf.int; of none in n it is 1 - .025^(1/n).
        self.assertAlmostEqual(detection_scores.binomial_limit(7, 20), 0.5921885, places=6)
        self.assertAlmostEqual(detection_scores.binomial_limit(0, 300), 1 - 0.025 ** (1 / 300), places=9)
        self.assertEqual(detection_scores.binomial_limit(20, 20), 1.0)
        self.assertAlmostEqual(detection_scores.binomial_limit(19, 20), 0.998735, places=5)

    def test_a_rate_counts_alarms_and_series(self):
        rate = detection_scores.rate([[], [3, 9], [], [4]])
        self.assertEqual((rate.series, rate.alarms, rate.alarmed), (4, 3, 2))
        self.assertEqual((rate.per_series, rate.share), (0.75, 0.5))
        self.assertAlmostEqual(rate.per_series_limit, 8.767273 / 4, places=5)


class Power(unittest.TestCase):
    def test_found_by_chance_is_taken_off(self):
        always = detection_scores.power([[(True, True)] * 10])
        self.assertEqual((always.found, always.placebo, always.net, always.error), (1.0, 1.0, 0.0, 0.0))
        half = detection_scores.power([[(True, False), (False, False)] * 50, [(True, True)] * 100])
        self.assertEqual((half.found, half.placebo, half.net), (0.75, 0.5, 0.25))
        # Half of 100 differences are 1, the others 0, and the other kind has none; both count alike.
        self.assertAlmostEqual(half.error, math.sqrt(0.25 * 100 / 99 / 100) / 2, places=12)

    def test_near_enough(self):
        found = [detection_scores.is_found([at], 150, 5, 9) for at in (144, 145, 159, 160)]
        self.assertEqual(found, [False, True, True, False])
        self.assertFalse(detection_scores.is_found([], 150, 5, 9))

    def test_a_step_is_held_against_its_own_counterpart(self):
        steps = {
            f"steps-{kind}-{run}-{percent}": detection.Truth("steps", kind, percent, 150)
            for kind in ("Gaussian", "Daily")
            for run in (0, 1)
            for percent in (0, 1, 5)
        }
        alarms = {name: [] for name in steps}
        alarms["steps-Gaussian-0-5"] = alarms["steps-Gaussian-1-5"] = [152]
        # Without the step it was found as well, so that finding it says nothing.
        alarms["steps-Gaussian-1-0"] = [149]
        power = detection.power(alarms, steps, 5, (5, 9))
        self.assertEqual((power.found, power.placebo, power.net), (0.5, 0.25, 0.25))
        self.assertEqual(detection.power(alarms, steps, 1, (5, 9)).net, -0.25)


class Files(unittest.TestCase):
    def test_only_so_many_samples_after_the_step_are_looked_at(self):
        with tempfile.TemporaryDirectory() as folder:
            rows = [f"steps-Daily-0-5,{place},{place}.5\n" for place in range(253)]
            Path(folder, "steps.csv").write_text("series,timestamp,value\n" + "".join(rows))
            Path(folder, "unchanged.csv").write_text("series,timestamp,value\nunchanged-0,1,2\nunchanged-0,2,3\n")
            Path(folder, "truth.csv").write_text(
                "file,series,kind,size,index\nunchanged,unchanged-0,Daily,0,\nsteps,steps-Daily-0-5,Daily,5,153\n"
            )
            truths = detection.truth(folder)
            series = detection.files(folder, truths)
        self.assertEqual(truths["unchanged-0"], detection.Truth("unchanged", "Daily", 0, None))
        self.assertEqual(truths["steps-Daily-0-5"], detection.Truth("steps", "Daily", 5, 153))
        self.assertEqual(series["unchanged"], {"unchanged-0": [2.0, 3.0]})
        self.assertEqual([len(series[f"steps-{after}"]["steps-Daily-0-5"]) for after in (10, 30, 100)], [163, 183, 253])
        self.assertEqual(series["steps-10"]["steps-Daily-0-5"][-1], 162.5)


class Finders(unittest.TestCase):
    def test_perfherder_finds_a_step_that_is_long_enough(self):
        find = finders.perfherder(7.0)
        stepped = noise(1, 60) + noise(2, 30, level=105.0)
        self.assertEqual(find(stepped), [60])
        self.assertEqual(find(stepped[:71]), [])
        self.assertEqual(find(noise(3, 250)), [])
        # Without noise every difference is beyond any threshold, and none is no difference.
        self.assertEqual(find([1.0] * 30 + [2.0] * 30), [30])
        self.assertEqual(find([1.0] * 60), [])

    def test_control_limits(self):
        find = finders.control_limits(3.0)
        values = noise(4, 200, level=1e6)
        self.assertLess(len(find(values)), 4)
        # An excursion is one, however long it is.
        shifted = values[:150] + [value + 20 for value in values[150:154]] + values[154:]
        self.assertIn(150, find(shifted))
        self.assertFalse({151, 152, 153} & set(find(shifted)))
        self.assertEqual(find([5.0] * 100), [])

    def test_a_weighted_mean_sees_what_single_samples_hide(self):
        values = noise(5, 400)
        moved = values[:300] + [value + 2 for value in values[300:320]]
        chart = finders.control_limits(5.0, window=100, weight=0.2)
        self.assertEqual(chart(values), [])
        found = chart(moved)
        self.assertTrue(len(found) == 1 and 300 < found[0] < 315, found)
        self.assertEqual(finders.control_limits(5.0, window=100)(moved), [])

    def test_of_places_close_together_the_surest_is_told(self):
        p_values = [1.0] * 100
        p_values[10], p_values[12], p_values[20], p_values[60] = 1e-5, 1e-7, 1e-6, 1e-9
        self.assertEqual(finders.least_of_each_run(p_values, 1e-4), [12 + 15, 60 + 15])
        self.assertEqual(finders.least_of_each_run([1.0] * 50, 1e-4), [])

    def test_a_missing_package_is_told(self):
        missing = finders.Peer("one", ("no-such-package-of-driftline",), list)
        self.assertIsNone(missing.versions())
        self.assertEqual(finders.Peer("one", (), list).versions(), {})
        self.assertEqual(finders.installed(["no-such-package-of-driftline"]), {})


class Evaluation(unittest.TestCase):
    def test_it_runs_in_a_copy_and_tells_what_fails(self):
        with tempfile.TemporaryDirectory() as given, tempfile.TemporaryDirectory() as place:
            Path(given, "bench.py").write_text(BENCH)
            Path(given, "score.py").write_text("")
            Path(given, "public", "aa").mkdir(parents=True)
            os.chmod(Path(given, "public"), 0o500)
            detection_eval.copy(Path(given), Path(place))
            ours = ["--cmd", "x detect --mode {mode}", "--name", "driftline", "--tasks", "aa"]
            scores, failure = detection_eval.bench(place, 0, ours)
            self.assertEqual((scores[0]["name"], scores[0]["tasks"], failure), ("driftline", "aa", None))
            scores, failure = detection_eval.bench(place, 1, ["--peers", "broken", "--tasks", "aa"])
            self.assertEqual(scores, [])
            self.assertTrue(failure.startswith("broken: ") and failure.endswith(": no module named broken"), failure)
            self.assertEqual(sorted(os.listdir(given)), ["bench.py", "public", "score.py"])
            os.chmod(Path(given, "public"), 0o700)

    def test_the_tables(self):
        ours = {
            "name": "driftline",
            "time": {"aa": {"sec": 0.1, "series": 400}},
            "aa": {"fp_per_series": 0.009, "fp_core": 0.0},
            "tcpd": {"F1": 0.76, "cover": 0.73},
            "shift": {"30": {"1%": 0.37, "2%": 0.7, "5%": 0.97}, "10": {"2%": 0.57, "5%": 0.88}},
            "nab": {"F1": 0.58, "nab": 65.8},
            "fleet": {"event_recall": 1.0, "events": 12, "spurious_groups": 0},
            "ab": {"fp_runsd0": 0.0, "fp_runsd3": 0.025, "fp_runsd6": 0.0, "pow_p50+5": 0.47, "ci_cover": None},
        }
        silent = {"name": "zero", "time": {"aa": {"sec": 0, "series": 400}}, "aa": {"fp_per_series": 0, "fp_core": 0}}
        text = detection_eval.text([silent, ours], ["otava: no module"])
        lines = text.splitlines()
        self.assertEqual(
            lines[2], "| driftline | 0.76 / 0.73 | 0.009 / 0 | 0.37 / 0.7 / 0.97 | 0.57 / 0.88 | - / - | 0.58 / 65.8 | 12 of 12 / 0 | 0.25 |"
        )
        self.assertEqual(lines[3], "| zero | - / - | 0 / 0 | - / - / - | - / - | - / - | - | - | 0 |")
        self.assertIn("| driftline | 0 / 0.025 / 0 | 0.47 | - | - | - |", lines)
        self.assertEqual(lines[-1], "failed: otava: no module")


if __name__ == "__main__":
    unittest.main()
