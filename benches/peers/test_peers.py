"""What the scripts conclude from what they read: python3 -m unittest discover benches/peers"""

import json
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True

import clients
import machine
import ratios
import stall
from clients import Ask
from machine import Failed, Finished

HTTP1 = Ask("http://127.0.0.1:1/", "http1", 64, 1, 5)


def finished(out):
    return Finished(["a"], 0, out, "", 1.0, 5.0)


class Ratios(unittest.TestCase):
    def test_the_interval_holds_the_median_and_repeats(self):
        pairs = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9]
        ratio = ratios.of(pairs)
        self.assertEqual((ratio.pairs, ratio.median), (10, 1.45))
        self.assertTrue(1.0 <= ratio.low < 1.45 < ratio.high <= 1.9)
        self.assertEqual(ratio, ratios.of(pairs))

    def test_the_worse_end_decides(self):
        ratio = ratios.Ratio(10, 1.2, 1.1, 1.3)
        told = [ratio.verdict(goal) for goal in (None, 1.1, 1.2, 1.4)]
        self.assertEqual(told, ["-", "met", "not shown", "missed"])
        self.assertEqual(ratios.of([2.0, 2.0]).verdict(1.0), "too few pairs")
        self.assertEqual(ratios.of([]).median, None)


class Truth(unittest.TestCase):
    def test_a_stop_of_a_second_is_known_beforehand(self):
        # The server answers within 100 µs, but for the second from 4 s on.
        rows = ["arrival_us,start_us,end_us,status,path"]
        for number in range(2_000):
            due = 10**15 + number * 5_000
            end = max(due, 10**15 + 5_000_000) if number >= 800 else due
            rows.append(f"{due if number < 800 else end},{end},{end + 100},200,/")
        held = stall.truth("\n".join(rows))
        self.assertEqual(held.served, 2_000)
        self.assertAlmostEqual(held.mean_ms, 50, delta=0.5)
        self.assertAlmostEqual(held.p95_ms, 500, delta=5)
        self.assertAlmostEqual(held.p99_ms, 900, delta=5)

    def test_a_server_that_was_not_stopped_is_no_truth(self):
        rows = [f"{number * 5_000},0,{number * 5_000 + 100},200,/" for number in range(100)]
        with self.assertRaises(Failed):
            stall.truth("\n".join(["head", *rows]))

    def test_close_is_true_and_silence_is_not(self):
        held = stall.Truth(50.0, 500.0, 900.0, 2_000)
        report = clients.Report(2_000, 10, 0, 51.0, 510.0, 890.0)
        self.assertTrue(stall.is_true(report, held))
        self.assertFalse(stall.is_true(clients.Report(2_000, 10, 0, 30.0, 510.0, 890.0), held))
        self.assertFalse(stall.is_true(clients.Report(2_000, 10, 0, 51.0), held))


class Reports(unittest.TestCase):
    def test_wrk(self):
        text = """
    Latency   320.50us    1.10ms  20.00ms   95.00%
     99%    2.50ms
  1000000 requests in 5.01s, 70.00MB read
  Socket errors: connect 0, read 3, write 0, timeout 1
  Non-2xx or 3xx responses: 7
"""
        report = clients.Wrk().report(HTTP1, finished(text), None)
        self.assertEqual((report.operations, report.seconds, report.errors), (1_000_000, 5.01, 11))
        self.assertEqual((report.mean_ms, report.p99_ms), (0.3205, 2.5))
        with self.assertRaises(Failed):
            clients.Wrk().report(HTTP1, finished(""), None)

    def test_hey(self):
        text = """
  Total:	10.0000 secs
  Average:	0.0135 secs
  Requests/sec:	184.0000
  95% in 0.0086 secs
  99% in 0.9957 secs
Status code distribution:
  [200]	1830 responses
  [503]	10 responses
"""
        report = clients.Hey().report(HTTP1, finished(text), None)
        self.assertEqual((report.operations, report.errors, report.p95_ms), (1_830, 10, 8.6))

    def test_h2load_logs_what_it_does_not_say(self):
        text = """
finished in 10.00s, 200.00 req/s, 1.00MB/s
requests: 4 total, 4 started, 4 done, 3 succeeded, 1 failed, 0 errored, 0 timeout
time for request:      100us      1.00s    50.00ms   10.00ms    90.00%
"""
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "h2.log").write_text("1\t200\t1000\n2\t200\t3000\n3\t200\t2000\n4\t-1\t9000\n")
            ask = Ask("http://127.0.0.1:1/", "http1", 20, 1, 10, 200)
            report = clients.H2load().report(ask, finished(text), Path(folder))
        self.assertEqual((report.operations, report.errors, report.mean_ms), (3, 1, 50.0))
        self.assertEqual(report.p95_ms, 9.0)

    def test_oha_counts_what_it_cut_off_as_no_error(self):
        said = {
            "summary": {"total": 5.0, "average": 0.002},
            "latencyPercentiles": {"p95": 0.003, "p99": 0.004},
            "statusCodeDistribution": {"200": 1_000, "500": 2},
            "errorDistribution": {"aborted due to deadline": 64, "connection refused": 3},
        }
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "oha.json").write_text(json.dumps(said))
            report = clients.Oha().report(HTTP1, finished(""), Path(folder))
        self.assertEqual((report.operations, report.errors, report.mean_ms), (1_000, 5, 2.0))
        self.assertEqual((report.p95_ms, report.p99_ms), (3.0, 4.0))

    def test_k6_by_its_summary(self):
        metrics = {
            "http_reqs": {"values": {"count": 990, "rate": 198.0}},
            "http_req_failed": {"values": {"rate": 0.0, "passes": 10, "fails": 980}},
            "http_req_duration": {"values": {"avg": 50.0, "p(95)": 500.0, "p(99)": 900.0}},
            "dropped_iterations": {"values": {"count": 5, "rate": 1.0}},
        }
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "summary.json").write_text(json.dumps({"metrics": metrics}))
            report = clients.K6().report(HTTP1, finished(""), Path(folder))
        self.assertEqual((report.operations, report.errors, report.seconds), (980, 15, 5.0))
        self.assertEqual(report.p99_ms, 900.0)


class Machine(unittest.TestCase):
    def test_lists_of_cores(self):
        self.assertEqual(machine._numbers("0-2,8\n"), {0, 1, 2, 8})

    def test_a_program_is_charged_for_its_children(self):
        spin = "for i in range(3_000_000): pass"
        command = [sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {spin!r}])"]
        alone = machine.run([sys.executable, "-c", "pass"]).check()
        self.assertGreater(machine.run(command).check().cpu_s, alone.cpu_s)

    def test_a_program_that_does_not_end_is_a_failure(self):
        with self.assertRaises(Failed):
            machine.run(["sleep", "60"], limit_s=0.2)

    def test_quantiles(self):
        values = list(range(1, 101))
        self.assertEqual((clients.quantile(values, 0.95), clients.quantile([], 0.5)), (95, None))


if __name__ == "__main__":
    unittest.main()
