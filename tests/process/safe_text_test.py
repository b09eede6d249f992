"""Text of strangers: method names, names of processes and files, certificates, plugins' words. It
is shown so that it can be read, nobody is killed for it, and no order is lost."""

import os
import re
import signal
import subprocess
import tempfile
import unittest

import callback_echo_pb2
import callback_echo_pb2_grpc
from clients import PATIENCE, Busy, Watch, wait_until
from harness import BIN, BUILD, Daemon, run
from hostile_peers import (END_HEADERS, END_STREAM, HEADERS, Peer, frame, request)
from tls_test import Authority

RUDE = str(BUILD / "tests" / "plugins" / "rude.so")
CONFIGURATION, INTERNAL = 78, 70
# What the rude plugin says, as it may be shown.
RUBBISH = "rubbish\\xff\\x1b[31m\\u009b\\nadmin: drain requested by root"
# Two servers in one process: what is said to one of them is the other's end too.
BOTH = {"public": {}, "callbacks": {"plugins": ["callback_echo"]}}
# A name that the kernel cuts after 15 bytes, in the middle of its eighth character.
NAME, CUT = "остановить.sh", "останов\\xd0"


def unsafe(text):
    """What of it should not be shown to anybody."""
    return re.findall("[\\x00-\\x09\\x0b-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069\\ufffd]",
                      text)


class SafeTextTest(unittest.TestCase):
    def expect_readable(self, daemon):
        """Its log is text, and each line of it begins as one should."""
        log = (daemon.folder / "log").read_bytes().decode()
        self.assertEqual(unsafe(log), [])
        self.assertNotIn("malformed", log)
        self.assertEqual(re.findall("^admin: .*", log, re.MULTILINE), [])

    def expect_unmoved(self, daemon, call, host):
        """A stop in which a call has grace left: the call ends well, and its process by itself."""
        watch = Watch(daemon)
        daemon.signal(signal.SIGTERM)
        watch.stage("grace")
        self.assertEqual(call.finish(), "held")
        self.assertEqual(daemon.wait(), 0, daemon.log())
        self.assertEqual(daemon.receipt()["processes"][0]["pid"], host)
        self.expect_readable(daemon)
        daemon.assert_nothing_left()


class MethodTest(SafeTextTest):
    def call(self, daemon, *paths):
        """Calls by raw HTTP/2, which the server has answered."""
        before = daemon.server("callbacks").calls_total
        with Peer(daemon.address("callbacks")) as peer:
            peer.acknowledge()
            for stream, path in zip(range(1, 2 * len(paths), 2), paths):
                self.assertTrue(peer.send(frame(HEADERS, END_HEADERS | END_STREAM, stream,
                                                request(path))))
            wait_until(lambda: daemon.server("callbacks").calls_total == before + len(paths),
                       "the calls are counted", 20)

    def test_names_that_are_no_text(self):
        with Daemon(BOTH) as daemon:
            call, host = daemon.held(), daemon.process_pid()
            self.call(daemon, b"/a/\xff", "/b/\x9b31m", "/c/\u202egnp", b"/d/\xd0",
                      "/e/" + 2000 * "x")
            self.assertEqual(daemon.process_pid(), host)
            names = [each.name for each in daemon.server("callbacks").methods]
            for name in ("/a/\\xff", "/b/\\u009b31m", "/c/\\u202egnp", "/d/\\xd0"):
                self.assertIn(name, names)
            self.assertLess(max(map(len, names)), 300)
            self.assertEqual(unsafe(daemon.ctl("servers", "callbacks", check=True).stdout), [])
            self.expect_unmoved(daemon, call, host)

    def test_invented_names(self):
        with Daemon(BOTH) as daemon:
            for first in range(0, 3000, 100):
                self.call(daemon, *(f"/{number}/" + 5000 * "x"
                                    for number in range(first, first + 100)))
            echo = callback_echo_pb2_grpc.CallbackEchoStub(daemon.channel("callbacks"))
            echo.Unary(callback_echo_pb2.CallbackRequest(text="hi"), timeout=PATIENCE)
            methods = {each.name: each.total for each in daemon.server("callbacks").methods}
            # What is registered goes by its name, whatever was invented before.
            self.assertEqual(methods["/lastcall.example.CallbackEcho/Unary"], 1)
            self.assertEqual(methods["(others)"], 2000)
            self.assertEqual(len(methods), 1002)
            # Default clients take 4 MiB.
            self.assertLess(daemon.status().ByteSize(), 1 << 20)


class CommandTest(SafeTextTest):
    def script(self, daemon, text):
        """A program whose name is cut within a character."""
        path = daemon.folder / NAME
        path.write_text("#!/bin/sh\n" + text, encoding="utf-8")
        path.chmod(0o755)
        return path

    def test_a_signal(self):
        with Daemon(BOTH) as daemon:
            call = daemon.held()
            # Alive until it has been looked at.
            sender = subprocess.Popen([self.script(daemon, f"kill -TERM {daemon.pid}\nread end\n")],
                                      stdin=subprocess.PIPE)
            try:
                daemon.wait_log("stop requested by")
                wait_until(lambda: daemon.current_stage() == "grace", "grace has begun")
                self.assertEqual(call.finish(), "held")
                self.assertEqual(daemon.wait(), 0, daemon.log())
            finally:
                sender.communicate()
            (asked,) = daemon.receipt()["requests"]
            self.assertEqual(asked["cause"]["who"], CUT)
            for process in daemon.receipt()["processes"]:
                self.assertEqual(process["requests"][0]["cause"]["who"], CUT)
            self.expect_readable(daemon)

    def test_a_caller(self):
        with Daemon(BOTH, reload={"settle": "100ms"}) as daemon, Busy(daemon) as busy:
            ctl = daemon.folder / NAME
            ctl.symlink_to(BIN / "lastcallctl")
            for verb in (("restart", "main"), ("drain", "callbacks"), ("undrain", "callbacks")):
                done = run(ctl, "--socket", daemon.socket, *verb)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn(f"admin: restart main requested by {CUT} (pid ", daemon.log())
            self.expect_readable(daemon)
            busy.end()
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0, daemon.log())
        self.assertEqual(busy.failed, [])

    def test_a_reason(self):
        forged = "x\nadmin: drain public requested by root\x1b[31m\u009b\u202e\u2028"
        with Daemon() as daemon:
            daemon.ctl("drain", "public", "--reason", forged, check=True)
            said = daemon.ctl("restart", "a\nb\x1b\u202e")
            self.assertEqual(len(said.stderr.splitlines()), 1, said.stderr)
            self.assertEqual(unsafe(said.stderr), [])
            self.assertIn('no process "a\\nb\\x1b\\u202e"', said.stderr)
            # Longer than any reply's status may be.
            self.assertIn("no process", daemon.ctl("restart", 60_000 * "x").stderr)
            self.assertEqual(unsafe(daemon.ctl("status", check=True).stdout), [])
            self.expect_readable(daemon)


class FileTest(SafeTextTest):
    def drop_in(self, daemon, name, text):
        folder = daemon.config.with_suffix(".d")
        folder.mkdir(exist_ok=True)
        (folder / os.fsdecode(name)).write_text(text, encoding="utf-8")

    def test_names_of_drop_ins(self):
        odd = b"1\xff\n\x1b[31m\xc2\x9b.toml"
        daemon = Daemon()
        self.drop_in(daemon, odd, '[server.public.config.echo]\ngreeting = "hello"\n')
        with daemon:
            self.assertIn("1\\xff\\n\\x1b[31m\\u009b.toml:2",
                          daemon.ctl("config", check=True).stdout)
            self.drop_in(daemon, odd, "[server.public.config.echo]\ngreting = 1\n[x]\n")
            done = daemon.ctl("reload")
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
            self.assertRegex(done.stderr, r"1\\xff\\n\\x1b\[31m\\u009b.toml:3: unknown key x")
            done = run(BIN / "lastcalld", "--check", "--config", daemon.config)
            self.assertEqual(done.returncode, CONFIGURATION)
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
            self.expect_readable(daemon)

    def test_a_folder_whose_name_is_no_text(self):
        daemon = Daemon()
        folder = os.fsdecode(os.fsencode(daemon.folder) + b"/\xff\n")
        os.mkdir(folder)
        with daemon:
            path = os.path.join(folder, "lastcalld.toml")
            with open(path, "w", encoding="utf-8") as file:
                file.write(daemon.config.read_text(encoding="utf-8"))
            done = subprocess.run([BIN / "lastcalld", "--check", "--config", path], check=False,
                                  capture_output=True, timeout=PATIENCE)
            said = done.stderr.decode()
            self.assertEqual(done.returncode, CONFIGURATION)
            self.assertEqual(len(said.splitlines()), 1, said)
            self.assertIn("/\\xff\\n/lastcalld.toml: its path has a character that is not valid text",
                          said)

    def test_several_mistakes_are_several_lines(self):
        with Daemon() as daemon:
            text = daemon.config.read_text(encoding="utf-8")
            daemon.config.write_text("wrong = 1\nworse = 2\n" + text + "[worst]\n",
                                     encoding="utf-8")
            for args in ((), ("--dry-run",)):
                lines = daemon.ctl("reload", *args).stderr.splitlines()
                self.assertEqual(len(lines), 3, lines)
                for line, key in zip(lines, ("wrong", "worse", "worst")):
                    self.assertRegex(line,
                                     rf"^lastcallctl: {daemon.config}:\d+: unknown key {key}; ")
            self.assertIn("reload refused, nothing has changed: ", daemon.log())
            self.assertIn(f"\n    {daemon.config}:2: unknown key worse", daemon.log())

    def test_certificates(self):
        # Tools write what they know of a certificate in front of it, in whatever encoding.
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="lastcall-text-"))
        authority = Authority(folder, "authority")
        certificate, key = authority.issue("server")
        certificate.write_bytes(b"friendlyName: M\xfcller\n" + certificate.read_bytes())
        tls = {"certificate": str(certificate), "key": str(key)}
        with Daemon({"public": {"tls": tls}}) as daemon:
            self.assertEqual(daemon.ctl("reload").returncode, 0)
            self.expect_readable(daemon)


class PluginTest(SafeTextTest):
    def daemon(self, wait=True, **config):
        return Daemon({"public": {"plugins": ["echo", RUDE], "config": {"rude": config}}},
                      wait=wait)

    def test_logs(self):
        with self.daemon(speak="log rubbish") as daemon:
            self.assertIn("plugin rude: " + RUBBISH, daemon.log())
            self.expect_readable(daemon)

    def test_sets_health(self):
        with self.daemon(speak="set rubbish") as daemon:
            self.assertIn(f'sets the health of "{RUBBISH}"', daemon.log())
            self.expect_readable(daemon)

    def test_asks_for_a_shutdown(self):
        with self.daemon(wait=False, speak="ask for rubbish") as daemon:
            daemon.wait()
            (asked,) = daemon.receipt()["requests"]
            self.assertEqual(asked["cause"]["reason"], RUBBISH)
            self.expect_readable(daemon)

    def test_throws(self):
        with self.daemon(wait=False, speak="throw rubbish") as daemon:
            self.assertEqual(daemon.wait(), INTERNAL, daemon.log())
            self.assertIn("plugin rude did not start: " + RUBBISH, daemon.receipt()["failure"])
            self.expect_readable(daemon)

    def test_refuses_its_configuration(self):
        with self.daemon(check="") as daemon:
            text = daemon.config.read_text(encoding="utf-8")
            daemon.config.write_text(text.replace('check = ""', 'check = "throw rubbish"'),
                                     encoding="utf-8")
            said = daemon.ctl("reload").stderr
            self.assertEqual(len(said.splitlines()), 1, said)
            self.assertIn("plugin rude refuses its configuration: " + RUBBISH, said)
            self.expect_readable(daemon)


if __name__ == "__main__":
    unittest.main()
