"""What is wrong is said once, with its place and what to do, and nothing is left behind."""

import os
import re
import signal
import socket
import threading
import unittest

from grpc._cython import cygrpc

from clients import Busy
from harness import BIN, BUILD, PLUGINS, Daemon, nobody, run

USAGE, CANNOT_BIND, CONFIGURATION = 64, 69, 78


class Refusals(unittest.TestCase):
    def expect(self, daemon, code, *texts):
        """A daemon that was started ends by itself; what it said, in one line, has the texts."""
        self.assertEqual(daemon.wait(), code, daemon.log())
        lines = daemon.log().splitlines()
        self.assertEqual(len(lines), 1, daemon.log())
        for text in texts:
            self.assertIn(text, lines[0])
        daemon.assert_nothing_left()
        self.assertFalse((daemon.folder / "state").exists())

    def expect_at(self, daemon, line_start, code, *texts):
        """As `expect`, and the place is the line of the configuration that begins so."""
        lines = daemon.config.read_text(encoding="utf-8").splitlines()
        (number,) = [at for at, line in enumerate(lines, 1) if line.startswith(line_start)]
        self.expect(daemon, code, f"{daemon.config}:{number}: ", *texts)


class ConfigurationTest(Refusals):
    def test_wrong_key(self):
        with Daemon(wait=False, shutdown={"greace": "5s"}) as daemon:
            self.expect_at(daemon, "greace", CONFIGURATION,
                           "unknown key shutdown.greace", 'did you mean "grace"?')

    def test_wrong_section(self):
        with Daemon(wait=False, sever={"public": {}}) as daemon:
            self.expect_at(daemon, "[sever]", CONFIGURATION, "unknown key sever", '"server"')

    def test_wrong_type(self):
        with Daemon({"public": {"reflection": "yes"}}, wait=False) as daemon:
            self.expect_at(daemon, "reflection", CONFIGURATION,
                           "server.public.reflection: expected true or false, found a string",
                           "write for example")

    def test_wrong_duration(self):
        for value in ("20", "5 parsecs", "-1s", ""):
            with self.subTest(value), Daemon(wait=False, shutdown={"grace": value}) as daemon:
                self.expect_at(daemon, "grace", CONFIGURATION, "shutdown.grace: ",
                               "write for example")

    def test_wrong_address(self):
        for value, said in (("127.0.0.1", "has no port; write for example"),
                            ("127.0.0.1:99999", "write a number from 0 to 65535"),
                            ("1.2.3:1", "is not an IPv4 address; write for example"),
                            ("unix:@hidden", "is an abstract socket"),
                            ("tcp://127.0.0.1:1", "begins with a scheme; write it without")):
            with self.subTest(value), Daemon({"public": {"listen": [value]}}, wait=False) as daemon:
                self.expect_at(daemon, "listen", CONFIGURATION, "server.public.listen: ", said)

    def test_several_mistakes_are_told_at_once(self):
        with Daemon({"public": {"reflection": 1, "listem": []}}, wait=False,
                    shutdown={"grace": "5"}) as daemon:
            self.assertEqual(daemon.wait(), CONFIGURATION)
            self.assertEqual(len(daemon.log().splitlines()), 3, daemon.log())
            places = [int(place) for place in re.findall(r"toml:(\d+): ", daemon.log())]
            self.assertEqual(len(places), 3)
            self.assertEqual(places, sorted(places))
            daemon.assert_nothing_left()

    def test_no_toml(self):
        broken = Daemon(wait=False)
        broken.config.write_text("[server.public\n", encoding="utf-8")
        with broken as daemon:
            self.expect(daemon, CONFIGURATION, f"{daemon.config}:1:", "not valid TOML")

    def test_no_file(self):
        with Daemon(wait=False, args=["--config", "/no/such/lastcalld.toml"]) as daemon:
            self.expect(daemon, CONFIGURATION, "/no/such/lastcalld.toml: cannot be read: ",
                        "No such file", "name another file with --config")

    def test_unreadable_file(self):
        secret = Daemon(wait=False, spawn=nobody() if os.getuid() == 0 else {})
        secret.folder.chmod(0o755)
        secret.config.chmod(0)
        with secret as daemon:
            self.expect(daemon, CONFIGURATION, f"{daemon.config}: cannot be read: ",
                        "Permission denied", "the daemon's user")

    def test_usage(self):
        for args, said in ((["--confg", "x"], 'unknown option --confg; did you mean "--config"?'),
                           (["--config", "a", "--plugin", "b"], "exclude each other"),
                           (["x.toml"], "write --config x.toml")):
            with self.subTest(args=args), Daemon(wait=False, args=args) as daemon:
                self.expect(daemon, USAGE, "lastcalld: ", said)


class PluginTest(Refusals):
    def test_not_there(self):
        with Daemon({"public": {"plugins": ["ecko"]}}, wait=False) as daemon:
            self.expect_at(daemon, "plugins", CONFIGURATION, 'server "public", plugin "ecko"',
                           f"{PLUGINS}/ecko.so", "No such file", 'did you mean "echo"?')

    def test_not_elf(self):
        with Daemon({"public": {"plugins": ["./lastcalld.toml"]}}, wait=False) as daemon:
            self.expect_at(daemon, "plugins", CONFIGURATION, "is not an ELF file",
                           "lastcall_add_plugin()")

    def test_foreign(self):
        linked = Daemon({"public": {"plugins": ["./foreign.so"]}}, wait=False)
        (linked.folder / "foreign.so").symlink_to(cygrpc.__file__)
        with linked as daemon:
            self.expect_at(daemon, "plugins", CONFIGURATION, 'plugin "foreign"',
                           "is not a Lastcall plugin", "lastcall_add_plugin()")

    def test_built_for_another_host(self):
        plugin = BUILD / "tests/plugins/mismatched.so"
        if not plugin.exists():
            self.skipTest("it is made with the unit tests")
        with Daemon({"public": {"plugins": [str(plugin)]}}, wait=False) as daemon:
            self.assertEqual(daemon.wait(), CONFIGURATION)
            self.assertIn("built for protobuf 9.99.99, this host runs", daemon.log())
            self.assertIn("built for gRPC 9.9.9, this host runs", daemon.log())
            daemon.assert_nothing_left()

    def test_settings(self):
        for settings, said in (({"greting": "x"}, 'config.echo.greting; did you mean "greeting"?'),
                               ({"hang_stop": "long"}, '"long" is not a duration'),
                               ({"health": "poor"}, 'must be "serving" or "not_serving"')):
            (key,) = settings
            with self.subTest(key), Daemon({"public": {"config": {"echo": settings}}},
                                           wait=False) as daemon:
                self.assertEqual(daemon.wait(), CONFIGURATION, daemon.log())
                errors = [line for line in daemon.log().splitlines() if " error " in line]
                self.assertEqual(len(errors), 1, daemon.log())
                self.assertIn(said, errors[0])
                self.assertRegex(errors[0], re.escape(str(daemon.config)) + r":\d+: ")
                daemon.assert_nothing_left()


class BindTest(Refusals):
    def test_port_in_use(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            # What was bound before is taken back.
            servers = {"a": {}, "b": {"listen": [address]}}
            with Daemon(servers, wait=False) as daemon:
                self.expect(daemon, CANNOT_BIND, "server b", address, "in use by ",
                            f"pid {os.getpid()}", "choose another port")

    def test_path_in_use(self):
        for kind in ("socket", "file"):
            with self.subTest(kind), socket.socket(socket.AF_UNIX) as taken:
                blocked = Daemon(wait=False)
                path = blocked.folder / "public.sock"
                if kind == "socket":
                    taken.bind(str(path))
                    taken.listen()
                else:
                    path.write_text("precious", encoding="utf-8")
                inode = path.stat().st_ino
                with blocked as daemon:
                    self.assertEqual(daemon.wait(), CANNOT_BIND, daemon.log())
                    self.assertEqual(len(daemon.log().splitlines()), 1, daemon.log())
                    self.assertIn("another path", daemon.log())
                    self.assertEqual(path.stat().st_ino, inode, "it is as it was")
                    self.assertEqual(list(daemon.folder.glob("*.sock*")), [path])

    def test_second_daemon(self):
        with Daemon() as daemon, Busy(daemon) as busy, Busy(daemon, kind="unix") as local:
            before = {path: path.stat().st_ino for path in daemon.folder.glob("*.sock*")}
            for _ in range(3):
                second = run(BIN / "lastcalld", "--config", daemon.config)
                self.assertEqual(second.returncode, CANNOT_BIND)
                self.assertEqual(len(second.stderr.splitlines()), 1, second.stderr)
                self.assertIn("another lastcalld is running with this", second.stderr)
                self.assertIn(f"pid {daemon.pid}", second.stderr)
            self.assertEqual({path: path.stat().st_ino for path in daemon.folder.glob("*.sock*")},
                             before)
            self.assertEqual(len(daemon.hosts()), 1)
            self.assertEqual(daemon.slow(0, kind="unix").text(), "slept")
            self.assertEqual(busy.failed + local.failed, [])


class CommandLineTest(unittest.TestCase):
    def test_check(self):
        for grace, said in (("20s", "stopping takes 28s at most (delay 3s, grace 20s, cancel 5s)"),
                            ("infinity", "stopping takes as long as the calls do")):
            with self.subTest(grace), Daemon(shutdown={"delay": "3s", "grace": grace}) as daemon:
                # Beside the one that runs: it binds nothing.
                check = run(BIN / "lastcalld", "--config", daemon.config, "--check")
                self.assertEqual(check.returncode, 0, check.stderr)
                self.assertIn(said, check.stdout)
                self.assertIn("the configuration is good", check.stdout)
                self.assertEqual(daemon.current_stage(), "serving")

    def test_a_plugin_without_a_file(self):
        args = ["--plugin", str(PLUGINS / "echo.so"), "--listen", "127.0.0.1:0"]
        by_hand = Daemon(wait=False, args=args, env={"LASTCALL_SOCKET": None})
        by_hand.env["XDG_RUNTIME_DIR"] = str(by_hand.folder)
        by_hand.socket = by_hand.folder / "lastcall/admin.sock"

        def ctl(*verb):
            return run(BIN / "lastcallctl", "--timeout", "30s", *verb, env=by_hand.env)

        waiting = threading.Thread(target=lambda: waited.append(ctl("wait", "serving")))
        waited = []
        waiting.start()
        with by_hand as daemon:
            waiting.join()
            self.assertEqual(waited[0].returncode, 0, waited[0].stderr + daemon.log())
            self.assertIn(f"pid {daemon.pid}", ctl("status").stdout)
            self.assertEqual(daemon.slow(0, name="dev").text(), "slept")
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)
            daemon.assert_nothing_left()


if __name__ == "__main__":
    unittest.main()
