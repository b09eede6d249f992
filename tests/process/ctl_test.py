"""Every verb of lastcallctl against a real daemon: what it prints, what it does, how it exits."""

import json
import os
import re
import signal
import socket
import subprocess
import time
import tomllib
import unittest

from clients import SLACK, Health, Log, Watch, wait_until, word
from crash_test import await_incarnation, crash
from echo_pb2 import EchoRequest
from harness import BIN, PLUGINS, Daemon, need_root, nobody, run

(DONE, FAILED, USAGE, NOT_SERVING, NO_SUCH_NAME, REFUSED,
 UNREACHABLE, TIMED_OUT, DENIED) = 0, 1, 2, 3, 4, 5, 69, 75, 77
LONG = {"delay": "30s", "grace": "30s", "cancel": "5s"}


class ReadingTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = cls.enterClassContext(
            Daemon({"public": {}, "other": {"process": "two"}}, log={"level": "info"}))
        cls.daemon.echo().Unary(EchoRequest(text="x"), timeout=10)

    def json_of(self, kind, *args):
        done = self.daemon.ctl("--json", *args)
        self.assertEqual(done.returncode, DONE, done.stderr)
        self.assertEqual(done.stdout.count("\n"), 1)
        value = json.loads(done.stdout)
        self.assertEqual((value.pop("api_version"), value.pop("kind")), ("lastcall/v1", kind))
        return value

    def text_of(self, *args):
        done = self.daemon.ctl(*args)
        self.assertEqual((done.returncode, done.stderr), (DONE, ""))
        return done.stdout

    def check_public(self, server):
        self.assertEqual((server["name"], server["process"], server["health"], server["accepting"]),
                         ("public", "main", "SERVING", True))
        self.assertEqual((server["calls_in_flight"], server["calls_total"]), (0, 1))
        self.assertEqual((len(server["listen"]), server["plugins"]), (2, ["echo"]))
        self.assertEqual(server["methods"],
                         [{"name": "/lastcall.example.Echo/Unary", "in_flight": 0, "total": 1}])
        self.assertNotIn("draining", server)

    def test_status(self):
        status = self.json_of("Status", "status")
        self.assertEqual((status["stage"], status["pid"]), ("serving", self.daemon.pid))
        self.assertEqual(status["config_file"], str(self.daemon.config))
        self.assertNotIn("plan", status)
        self.assertEqual({each["name"]: each["stage"] for each in status["processes"]},
                         {"main": "serving", "two": "serving"})
        for process in status["processes"]:
            self.assertIn(process["pid"], self.daemon.hosts())
            self.assertEqual((process["incarnation"], process["restarts"]), (1, 0))
            self.assertEqual((process["answering"], process["last_exit"]), (True, ""))
        self.check_public(status["servers"][0])
        text = self.text_of("status")
        self.assertIn(f"pid {self.daemon.pid}: serving", text)
        for process in status["processes"]:
            self.assertRegex(text, rf"{process['name']} +serving +{process['pid']}")

    def test_servers(self):
        self.check_public(self.json_of("Servers", "servers")["servers"][0])
        (one,) = self.json_of("Servers", "servers", "public")["servers"]
        self.check_public(one)
        self.assertRegex(self.text_of("servers"), r"public +main +serving +0 +1 ")
        self.assertRegex(self.text_of("servers", "public"), r"Echo/Unary +0 +1\n")

    def test_config_can_become_a_file(self):
        text = self.text_of("config")
        value = self.json_of("Config", "config")
        self.assertEqual(tomllib.loads(text), value["config"])
        lines = self.daemon.config.read_text(encoding="utf-8").splitlines()
        (number,) = [at for at, line in enumerate(lines, 1) if line.startswith("state_dir")]
        self.assertIn(f'state_dir = "{self.daemon.folder}/state"  # {self.daemon.config}:{number}\n',
                      text)
        self.assertIn('restart = "always"  # default\n', text)
        self.assertEqual(value["origins"]["state_dir"],
                         {"kind": "file", "file": str(self.daemon.config), "line": number})
        self.assertEqual(value["origins"]["process.main.restart"], {"kind": "default"})
        copy = self.daemon.folder / "copy.toml"
        copy.write_text(text, encoding="utf-8")
        self.assertEqual(run(BIN / "lastcalld", "--config", copy, "--check").returncode, 0)

    def test_version(self):
        version = self.json_of("Version", "version")
        self.assertEqual(version["lastcall"], version["lastcallctl"])
        self.assertRegex(version["grpc"], r"^1\.\d+\.\d+$")
        self.assertIn(f"gRPC         {version['grpc']}", self.text_of("version"))

    def test_log_level(self):
        self.assertEqual(self.text_of("log-level", "debug"), "log level debug (was info)\n")
        self.assertEqual(self.daemon.status().log_level, "debug")
        self.assertEqual(self.json_of("LogLevel", "log-level", "info"),
                         {"level": "info", "previous": "debug"})
        wrong = self.daemon.ctl("log-level", "loud")
        self.assertEqual((wrong.returncode, wrong.stdout), (USAGE, ""))
        self.assertIn("known are trace, debug, info, warning and error", wrong.stderr)
        self.assertIn('did you mean "debug"?', self.daemon.ctl("log-level", "dbug").stderr)

    def test_names_and_usage(self):
        for verb in ("servers", "drain", "undrain"):
            wrong = self.daemon.ctl(verb, "publik")
            self.assertEqual((wrong.returncode, wrong.stdout), (NO_SUCH_NAME, ""))
            self.assertIn('no server "publik"', wrong.stderr)
            self.assertIn('did you mean "public"?', wrong.stderr, "the remedy")
        wrong = self.daemon.ctl("restart", "mian")
        self.assertEqual((wrong.returncode, wrong.stdout), (NO_SUCH_NAME, ""))
        self.assertIn('no process "mian"; did you mean "main"?', wrong.stderr)
        for args in ((), ("statsu",), ("wait",), ("shutdown", "--grace", "5")):
            self.assertEqual(self.daemon.ctl(*args).returncode, USAGE, args)

    def test_unreachable(self):
        stale = self.daemon.folder / "stale.sock"
        with socket.socket(socket.AF_UNIX) as left_behind:
            left_behind.bind(str(stale))
        for path, said in (("/no/such.sock", "there is no such socket"),
                           (stale, "left its socket behind")):
            done = run(BIN / "lastcallctl", "--socket", path, "status")
            self.assertEqual((done.returncode, done.stdout), (UNREACHABLE, ""))
            self.assertIn(said, done.stderr)
            self.assertIn("Start", done.stderr)

    def test_denied(self):
        other = nobody()
        self.daemon.folder.chmod(0o755)
        for verb in ("status", "config"):
            done = self.daemon.ctl(verb, **other)
            self.assertEqual((done.returncode, done.stdout), (DENIED, ""), done.stderr)
            self.assertIn("denied", done.stderr)


class DropInTest(unittest.TestCase):
    def test_they_count_and_are_named(self):
        prepared = Daemon(wait=False, shutdown={"grace": "20s"}, reload={"settle": "0s"})
        folder = prepared.folder / "lastcalld.d"
        folder.mkdir()
        (folder / "10-a.toml").write_text('[shutdown]\ngrace = "7s"\ncancel = "1s"\n')
        (folder / "20-b.toml").write_text('\n[shutdown]\ncancel = "2s"\n'
                                          '[server.public]\nlisten = ["127.0.0.1:0"]\n')
        with prepared as daemon:
            daemon.ctl("--timeout", "30s", "wait", "serving", check=True)
            text = daemon.ctl("config", check=True).stdout
            self.assertIn(f'grace = "7s"  # {folder}/10-a.toml:2\n', text)
            self.assertIn(f'cancel = "2s"  # {folder}/20-b.toml:3\n', text)
            self.assertIn(f'listen = ["127.0.0.1:0"]  # {folder}/20-b.toml:5\n', text)
            # A reload reads what has come and gone.
            (folder / "20-b.toml").unlink()
            (folder / "15-c.toml").write_text('[shutdown]\ngrace = "8s"\n')
            daemon.ctl("reload", check=True)
            config = daemon.json("config")
            self.assertEqual(config["config"]["shutdown"]["grace"], "8s")
            self.assertEqual(config["origins"]["shutdown.grace"],
                             {"kind": "file", "file": f"{folder}/15-c.toml", "line": 2})
            self.assertEqual(config["config"]["shutdown"]["cancel"], "1s")
            (folder / "30-d.toml").write_text('[shutdown]\ngracee = "8s"\n')
            wrong = daemon.ctl("reload")
            self.assertEqual(wrong.returncode, FAILED)
            self.assertIn(f"{folder}/30-d.toml:2: unknown key shutdown.gracee; "
                          'did you mean "grace"?', wrong.stderr)


class SocketTest(unittest.TestCase):
    def test_that_of_a_plugin_is_found_with_and_without_a_runtime_directory(self):
        """In a mount namespace, for /tmp is everybody's."""
        need_root()
        for daemon_has, ctl_has in ((False, False), (True, True), (False, True)):
            with self.subTest(daemon_has=daemon_has, ctl_has=ctl_has), \
                    Daemon(wait=False, args=["--version"]) as daemon:
                for name in ("runtime", "private"):
                    (daemon.folder / name).mkdir(mode=0o700)
                environment = [f"env {'' if has else '-u XDG_RUNTIME_DIR'}"
                               for has in (daemon_has, ctl_has)]
                script = f"""
                    mkdir -p -m 700 /tmp/lastcall-0 &&
                    mount --bind {daemon.folder}/private /tmp/lastcall-0 || exit 99
                    {environment[0]} {BIN}/lastcalld --plugin {PLUGINS}/echo.so \
                        --listen unix:{daemon.folder}/dev.sock &
                    {environment[1]} {BIN}/lastcallctl --timeout 10s wait serving &&
                    {environment[1]} {BIN}/lastcallctl shutdown && wait $! || {{ kill $!; exit 1; }}"""
                env = {name: value for name, value in daemon.env.items()
                       if name != "LASTCALL_SOCKET"}
                env["XDG_RUNTIME_DIR"] = str(daemon.folder / "runtime")
                done = run("unshare", "--mount", "sh", "-c", script, env=env)
                if done.returncode == 99:
                    self.skipTest("nothing can be mounted here")
                self.assertEqual(done.returncode, DONE, done.stdout + done.stderr)
                self.assertIn("serving, pid ", done.stdout)


class LogLevelTest(unittest.TestCase):
    def test_it_reaches_the_hosts(self):
        for level, expected in (("debug", True), ("info", False)):
            with self.subTest(level), Daemon(log={"level": "warning"}) as daemon:
                daemon.ctl("log-level", level, check=True)
                daemon.signal(signal.SIGTERM)
                self.assertEqual(daemon.wait(), 0)
                self.assertIn("info    host main: stopped in", daemon.log())
                self.assertEqual("debug   host main: stage grace" in daemon.log(), expected)


class DrainTest(unittest.TestCase):
    def draining(self, daemon):
        return daemon.json("servers", "public")["servers"][0].get("draining")

    def test_drain_and_undrain(self):
        with Daemon({"public": {}, "other": {}}) as daemon:
            health, watch = Log(Health(daemon.channel()).watch()), Watch(daemon)
            other = Health(daemon.channel(name="other"))
            health.when("SERVING")
            self.assertIsNone(self.draining(daemon))
            drained = daemon.ctl("drain", "public", "--reason", "load test", check=True)
            self.assertIn("public is draining", drained.stdout)
            health.when("NOT_SERVING")
            watch.when(lambda event: word(event.status.servers[0], "health") == "NOT_SERVING")
            self.assertEqual(other.check(), "SERVING")
            again = daemon.ctl("--json", "drain", "public", check=True)
            self.assertFalse(json.loads(again.stdout)["changed"])
            state = self.draining(daemon)
            self.assertRegex(state["by"], rf"^admin lastcallctl \(pid \d+, uid {os.getuid()}\)$")
            self.assertEqual(state["reason"], "load test")
            self.assertLess(state["since_s"], 10)
            # It serves on.
            self.assertEqual(daemon.echo().Unary(EchoRequest(text="x"), timeout=5).text, "x")
            self.assertEqual(daemon.current_stage(), "serving")

            daemon.ctl("undrain", "public", check=True)
            self.assertIsNone(self.draining(daemon))
            wait_until(lambda: [what for _, what in health.items] ==
                       ["SERVING", "NOT_SERVING", "SERVING"], "health is back")

    def test_it_survives_a_crash(self):
        with Daemon() as daemon:
            daemon.ctl("drain", "public", check=True)
            before = self.draining(daemon)
            crash(daemon)
            await_incarnation(daemon, 2)
            after = self.draining(daemon)
            self.assertEqual(after["by"], before["by"])
            self.assertGreater(after["since_s"], before["since_s"])
            self.assertEqual(Health(daemon.channel()).check(), "NOT_SERVING")
            self.assertEqual(Health(daemon.channel()).check("lastcall.example.Echo"), "NOT_SERVING")

    def test_refused_while_stopping(self):
        with Daemon(shutdown=LONG) as daemon:
            daemon.ctl("shutdown", "--no-wait", check=True)
            for verb in ("drain", "undrain"):
                refused = daemon.ctl(verb, "public")
                self.assertEqual((refused.returncode, refused.stdout), (REFUSED, ""))
                self.assertIn("a shutdown is in progress", refused.stderr)


class WaitTest(unittest.TestCase):
    def test_serving(self):
        slow = {"public": {"config": {"echo": {"hang_start": "5s"}}}}
        with Daemon(slow, wait=False, shutdown=LONG) as daemon:
            wait_until(daemon.socket.exists, "it can be asked")
            early = daemon.ctl("--timeout", "200ms", "wait", "serving")
            self.assertEqual(early.returncode, TIMED_OUT)
            self.assertEqual(daemon.ctl("status").returncode, NOT_SERVING)
            self.assertEqual(daemon.ctl("wait", "serving").stdout, f"serving, pid {daemon.pid}\n")
            self.assertEqual(daemon.current_stage(), "serving")
            daemon.signal(signal.SIGTERM)
            daemon.wait_log("stage delay")
            late = daemon.ctl("wait", "serving")
            self.assertEqual(late.returncode, NOT_SERVING)
            self.assertIn("is stopping", late.stderr)
            self.assertEqual(daemon.ctl("status").returncode, NOT_SERVING)

    def test_stopped(self):
        with Daemon(shutdown={"delay": "2s"}) as daemon, \
                subprocess.Popen(daemon.ctl_command("wait", "stopped"), text=True,
                                 stdout=subprocess.PIPE) as waiting:
            early = daemon.ctl("--timeout", "200ms", "wait", "stopped")
            self.assertEqual(early.returncode, TIMED_OUT)
            daemon.signal(signal.SIGTERM)
            self.assertRegex(waiting.communicate()[0], r"^stopped in .*, every call finished\n$")
            self.assertEqual(waiting.returncode, DONE)
            daemon.wait()
            self.assertEqual(daemon.ctl("wait", "stopped").stdout, "stopped\n")

    def test_a_daemon_that_does_not_answer(self):
        with Daemon() as daemon:
            daemon.signal(signal.SIGSTOP)
            began = time.monotonic()
            self.assertEqual(daemon.ctl("--timeout", "300ms", "status").returncode, TIMED_OUT)
            self.assertLess(time.monotonic() - began, 0.3 + SLACK)

    def test_a_process_that_does_not_answer(self):
        with Daemon({"public": {}, "other": {"process": "two"}}) as daemon:
            os.kill(daemon.process_pid("two"), signal.SIGSTOP)
            began = time.monotonic()
            daemon.json("status")
            self.assertLess(time.monotonic() - began, 0.5 + SLACK)
            wait_until(lambda: [each["answering"] for each in daemon.json("status")["processes"]] ==
                       [True, False], "the other one answers")
            self.assertIn("does not answer", daemon.ctl("status").stdout)


class WatchTest(unittest.TestCase):
    def test_both_forms(self):
        with Daemon(shutdown={"delay": "300ms"}) as daemon:
            watches = []
            for args in (("watch",), ("--json", "watch")):
                watches.append(self.enterContext(subprocess.Popen(
                    daemon.ctl_command(*args), text=True, stdout=subprocess.PIPE)))
            first = [each.stdout.readline() for each in watches]  # they are there
            self.assertRegex(first[0], r"Z  serving; 1 process, 1 server, 0 calls in flight\n$")
            call, seen = daemon.held(), Watch(daemon)
            daemon.ctl("drain", "public", check=True)
            daemon.signal(signal.SIGTERM)
            seen.stage("grace")
            self.assertEqual(call.finish(), "held")
            lines, events = [each.communicate()[0].splitlines() for each in watches]
            self.assertEqual([each.returncode for each in watches], [DONE, DONE])
            daemon.wait()
            stopped = next(i for i, line in enumerate(lines) if line.endswith("  stopped"))
            self.check_lines([line.split("  ", 1)[1] for line in lines[:stopped]])
            self.assertRegex(lines[stopped + 1], r"^lastcalld: stopped in .*, every call finished$")
            self.assertIn("  1 finished, 0 cancelled", lines)
            self.check_events(daemon, [json.loads(event) for event in events])

    def check_lines(self, lines):
        for before, after in zip(("serving", "delay", "grace"), ("delay", "grace", "cancel")):
            self.assertIn(f"{before} → {after}", lines)
        self.assertIn("server public: SERVING → NOT_SERVING", lines)
        text = "\n".join(["", *lines])
        self.assertIn("\nserver public: draining", text)
        self.assertIn("\nshutdown requested by SIGTERM", text)
        # A host at its end may be slow.
        self.assertNotIn("answer", text[:text.index("grace → cancel")])

    def check_events(self, daemon, events):
        self.assertEqual({each["kind"] for each in events}, {"Event"})
        self.assertEqual(events[-1]["receipt"], daemon.receipt())
        stages = [each["status"]["stage"] for each in events[:-1]]
        self.assertEqual(stages, sorted(stages, key=["serving", "delay", "grace", "cancel"].index))
        grace = [each["status"] for each in events[:-1] if each["status"]["stage"] == "grace"]
        self.assertIn(1, [each["servers"][0]["calls_in_flight"] for each in grace])


class ShutdownTest(unittest.TestCase):
    def test_dry_run_changes_nothing(self):
        with Daemon(shutdown={"delay": "1s", "grace": "20s", "cancel": "5s"}) as daemon:
            text = daemon.ctl("shutdown", "--dry-run", "--grace", "3s", check=True).stdout
            self.assertIn("would stop\n  grace in 1s, cancel in 4s, end in 9s at the latest", text)
            plan = daemon.json("shutdown", "--dry-run", "--delay", "0s")["plan"]
            for key, expected in (("grace_in_s", 0), ("cancel_in_s", 20), ("end_in_s", 25)):
                self.assertAlmostEqual(plan[key], expected, delta=SLACK)
            self.assertFalse(daemon.status().HasField("plan"))
            self.assertEqual(daemon.current_stage(), "serving")

    def test_no_wait(self):
        with Daemon(shutdown=LONG) as daemon:
            text = daemon.ctl("shutdown", "--no-wait", "--reason", "new kernel", check=True).stdout
            self.assertIn("stopping\n  grace in 30s", text)
            self.assertIn("new kernel", text)
            self.assertIn("as planned: an earlier request was at least as near",
                          daemon.ctl("shutdown", "--no-wait", "--delay", "1m", check=True).stdout)
            self.assertEqual(daemon.current_stage(), "delay")

    def test_waits_for_the_receipt(self):
        for finishes, outcome in ((True, "every call finished"), (False, "1 call cancelled")):
            for form in ("text", "json"):
                with self.subTest(outcome, form=form), \
                        Daemon(shutdown={"grace": "20s" if finishes else "1s"}) as daemon:
                    call = daemon.held()
                    asked = subprocess.Popen(
                        daemon.ctl_command(*(["--json"] if form == "json" else []), "shutdown"),
                        text=True, stdout=subprocess.PIPE)
                    daemon.wait_log("host main: stage grace")
                    if finishes:
                        self.assertEqual(call.finish(), "held")
                    said = asked.communicate()[0]
                    self.assertEqual(asked.returncode, DONE if finishes else FAILED, said)
                    self.assertEqual(daemon.wait(), 0 if finishes else 3)
                    if form == "json":
                        self.assertEqual(json.loads(said), daemon.receipt())
                    else:
                        self.assertRegex(said, rf"(?m)^lastcalld: stopped in .*{outcome}")
                        listed = re.search("Echo/ClientStream .* yes", said)  # told to leave
                        self.assertEqual(bool(listed), not finishes)

    def test_gives_up_waiting(self):
        with Daemon(shutdown=LONG) as daemon:
            done = daemon.ctl("--timeout", "3s", "shutdown")
            self.assertEqual(done.returncode, TIMED_OUT)
            self.assertIn("goes on stopping", done.stderr)
            self.assertEqual(daemon.current_stage(), "delay")


if __name__ == "__main__":
    unittest.main()
