"""Calls are told to leave in the first half of the grace that is left, whatever was planned before:
they end by themselves, and nobody is cancelled."""

import signal
import unittest

from harness import Daemon

# Nobody here waits for so long.
LONG = "10m"
SHORT = "4s"


class LeaveTest(unittest.TestCase):
    def expect_all_leave(self, daemon, calls):
        """They were told before grace was over, and what the receipt says agrees."""
        self.assertEqual([call.text() for call in calls], ["left early"] * len(calls))
        self.assertEqual(daemon.wait(), 0)
        receipt = daemon.receipt()
        self.assertEqual(receipt.get("cancelled", []), [])

    def begin(self, daemon, count=3):
        """One after another: the oldest is told first."""
        calls = []
        while len(calls) < count:
            calls.append(daemon.slow(600, leave=True))
            daemon.await_calls(len(calls))
        return calls

    def test_a_second_request_is_nearer(self):
        with Daemon() as daemon:
            calls = self.begin(daemon)
            daemon.ctl("shutdown", "--no-wait", "--grace", LONG, check=True)
            calls[0].wait()  # told early in a long grace; the others have minutes
            self.assertFalse(any(call.over() for call in calls[1:]))
            daemon.ctl("shutdown", "--no-wait", "--grace", SHORT, check=True)
            self.expect_all_leave(daemon, calls)

    def test_a_replacement_comes_before_the_stop(self):
        with Daemon(reload={"grace": LONG, "settle": "100ms"}) as daemon:
            calls = self.begin(daemon)
            daemon.ctl("restart", "main", check=True)
            self.assertFalse(any(call.over() for call in calls))
            daemon.ctl("shutdown", "--no-wait", "--grace", SHORT, check=True)
            self.expect_all_leave(daemon, calls)

    def test_a_signal_comes_after_a_request(self):
        with Daemon(shutdown={"grace": SHORT}) as daemon:
            calls = self.begin(daemon)
            daemon.ctl("shutdown", "--no-wait", "--grace", LONG, check=True)
            calls[0].wait()
            daemon.signal(signal.SIGTERM)
            self.expect_all_leave(daemon, calls)


if __name__ == "__main__":
    unittest.main()
