"""The wall clock is set while a shutdown is in progress: nothing waits for it."""

import os
import pathlib
import signal
import time
import unittest

from clients import SLACK
from harness import Daemon

LIBRARY = pathlib.Path(os.environ["LASTCALL_BUILD"]) / "tests" / "jumping_clock.so"


class ClockTest(unittest.TestCase):
    def test_an_hour_ahead_and_back(self):
        # Whoever looked at the clock in between and waits by it, as gRPC does, waits for an hour.
        daemon = Daemon(shutdown={"grace": "10s", "cancel": "3s"})
        ahead = daemon.folder / "ahead"
        daemon.env.update(LD_PRELOAD=str(LIBRARY), JUMPING_CLOCK=str(ahead))
        with daemon:
            call = daemon.held()
            daemon.signal(signal.SIGTERM)
            began = time.monotonic()
            ahead.touch()
            time.sleep(1)
            ahead.unlink()
            self.assertEqual(call.finish(), "held")
            self.assertEqual(daemon.wait(), 0)
            self.assertLess(time.monotonic() - began, 3 + SLACK)
            self.assertEqual(daemon.receipt()["stuck"], [])
            self.assertEqual(daemon.receipt()["processes"][0]["exit_code"], 0)
            daemon.assert_nothing_left()


if __name__ == "__main__":
    unittest.main()
