"""What watch and status tell of the lives of a process, of reloads and of calls."""

import os
import re
import signal
import subprocess
import unittest

from clients import Watch, wait_until, word
from crash_test import await_incarnation, crash
from echo_pb2 import EchoRequest
from harness import Daemon


class WatchedTest(unittest.TestCase):
    """What a watch says, from its beginning to the end of the daemon."""

    def watch(self, daemon):
        watching = self.enterContext(subprocess.Popen(
            daemon.ctl_command("watch"), text=True, stdout=subprocess.PIPE))
        self.assertIn("serving", watching.stdout.readline())  # it is there
        return watching

    def lines(self, watching):
        return [line.split("Z  ", 1)[-1] for line in watching.communicate()[0].splitlines()]

    def test_a_restart_has_somebody_who_asked_for_it_and_an_end(self):
        with Daemon(reload={"settle": "300ms"}) as daemon:
            watching, seen, call = self.watch(daemon), Watch(daemon), daemon.held()
            daemon.ctl("restart", "main", "--reason", "load test", check=True)
            seen.when(lambda event: event.status.processes[0].retired)
            self.assertEqual(call.finish(), "held")
            seen.when(lambda event: event.status.processes[0].HasField("last_retired") and
                      not event.status.processes[0].retired)
            daemon.ctl("shutdown", check=True)
            lines = self.lines(watching)
            self.assertEqual(watching.returncode, 0)
            asked = rf"requested by admin lastcallctl \(pid \d+, uid {os.getuid()}\): load test"
            wanted = [rf"process main: incarnation 2 is started, {asked}",
                      r"process main: incarnation 2 has taken over, and settles",
                      rf"process main: incarnation 1 retires, {asked}: 1 in flight; ends in .*",
                      r"process main: incarnation 1 has ended: stopped in .*, every call finished"]
            places = [next(i for i, line in enumerate(lines) if re.fullmatch(each, line))
                      for each in wanted]
            self.assertEqual(places, sorted(places), lines)
            self.assertIn("process main: incarnation 2, pid", "\n".join(lines))

    def test_a_reload_says_what_it_has_changed(self):
        with Daemon(shutdown={"grace": "7s"}) as daemon:
            watching, seen = self.watch(daemon), Watch(daemon)
            text = daemon.config.read_text()
            for grace, refused in (("8s", False), ("8 apples", True)):
                daemon.config.write_text(text.replace('"7s"', f'"{grace}"'))
                daemon.signal(signal.SIGHUP)
                seen.when(lambda event, refused=refused:
                          event.status.HasField("last_reload") and
                          bool(event.status.last_reload.refusal) == refused)
            daemon.ctl("shutdown", check=True)
            lines = self.lines(watching)
            asked = next(i for i, line in enumerate(lines) if line.startswith("reload, requested by "))
            self.assertIn("SIGHUP", lines[asked])
            self.assertEqual(lines[asked + 1:asked + 4],
                             ["  ~ shutdown", '      shutdown.grace: "7s" → "8s"',
                              "  shutdown: changed"])
            refused = next(line for line in lines if "refused" in line)
            self.assertIn("nothing has changed: ", refused)
            self.assertIn("apples", refused)

    def test_health_does_not_come_back_in_grace_while_an_older_incarnation_lives(self):
        with Daemon(reload={"settle": "100ms"}, shutdown={"delay": "300ms"}) as daemon:
            call = daemon.held()
            daemon.ctl("restart", "main", check=True)
            watching, seen = self.watch(daemon), Watch(daemon)
            daemon.signal(signal.SIGTERM)
            seen.stage("grace")
            # Somebody looks at it for as long as the one before has its call.
            seen.when(lambda event: word(event.status) == "grace" and
                      word(event.status.processes[0]) in ("cancel", "stopped"))
            self.assertEqual(call.finish(), "held")
            lines = self.lines(watching)
            self.assertIn("server public: SERVING → NOT_SERVING", lines)
            self.assertNotIn("server public: NOT_SERVING → SERVING", lines)


class FiguresTest(unittest.TestCase):
    """What status counts, over the lives of a process."""

    def figures(self, daemon):
        process, server = daemon.process_status(), daemon.server()
        (method,) = [each for each in server.methods if each.name.endswith("/Unary")]
        self.assertEqual(server.calls_total, method.total)
        return process.incarnation, process.restarts, int(server.calls_total)

    def call(self, daemon):
        daemon.echo().Unary(EchoRequest(text="x"), timeout=10)

    def test_calls_never_become_fewer_and_only_failures_are_restarts(self):
        with Daemon(reload={"settle": "100ms"}) as daemon:
            self.call(daemon)
            self.call(daemon)
            self.assertEqual(self.figures(daemon), (1, 0, 2))
            daemon.ctl("restart", "main", check=True)
            wait_until(lambda: len(daemon.hosts()) == 1, "the old one is gone")
            self.assertEqual(self.figures(daemon), (2, 0, 2))
            self.call(daemon)
            self.assertEqual(self.figures(daemon), (2, 0, 3))
            crash(daemon)
            await_incarnation(daemon, 3)
            self.assertEqual(self.figures(daemon)[:2], (3, 1))
            # The call that crashed it may have been known.
            self.assertIn(self.figures(daemon)[2], (3, 4))
            shown = daemon.ctl("status").stdout
            self.assertRegex(shown, r"(?m)^main +serving +\d+ +\S+ +3 +1  incarnation 2: killed by ")
            daemon.ctl("restart", "main", check=True)
            self.assertEqual(self.figures(daemon)[:2], (4, 1))
            self.assertIn("incarnation 2: killed by ", daemon.ctl("status").stdout)

    def test_a_stop_names_whom_it_waits_for(self):
        with Daemon({"public": {"listen": ["[::1]:0"]}}) as daemon:
            self.assertNotIn("OLDEST", daemon.ctl("status").stdout)
            first = daemon.held()
            second = daemon.slow(60)
            daemon.await_calls(1)
            self.assertNotIn("OLDEST", daemon.ctl("status").stdout)
            seen = Watch(daemon)
            daemon.signal(signal.SIGINT)
            seen.when(lambda event: len(event.status.oldest_calls) == 2 and
                      event.status.oldest_calls[0].told)
            calls = daemon.json("status")["oldest_calls"]
            self.assertEqual([each["method"].rsplit("/")[-1] for each in calls],
                             ["ClientStream", "Slow"])
            self.assertGreaterEqual(calls[0]["age_s"], calls[1]["age_s"])
            self.assertRegex(calls[0]["peer"], r"^\[::1\]:\d+$")
            self.assertEqual((calls[0]["server"], calls[0]["incarnation"]), ("public", 1))
            self.assertRegex(daemon.ctl("status").stdout,
                             r"(?m)^/lastcall\.example\.Echo/ClientStream +\[::1\]:\d+ +public +"
                             r"\d+\.\ds +yes$")
            first.finish()
            daemon.signal(signal.SIGQUIT)
            self.assertNotEqual(second.code().name, "OK")
            daemon.wait()


if __name__ == "__main__":
    unittest.main()
