"""Plugins that nobody here wrote: what they spoil for others is noticed, and named."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import time
import unittest

import grpc

from clients import AT_ONCE, PATIENCE, SANITIZED, SLACK, Busy, Health, wait_until
from harness import BIN, BUILD, Daemon, alive, run

WRONG = BUILD / "tests" / "plugins"
RUDE = str(WRONG / "rude.so")
WHO = "plugin rude of server public "
CONFIGURATION, INTERNAL = 78, 70


def rude(load=None, plugins=(RUDE,), servers=None, wait=True, **config):
    """A daemon with the plugin that does what it is told."""
    settings = {key: value for key, value in config.items() if not isinstance(value, dict)}
    tables = {key: value for key, value in config.items() if isinstance(value, dict)}
    public = {"plugins": list(plugins), "config": {"rude": settings}}
    return Daemon(servers={"public": public, **(servers or {})}, wait=wait,
                  env={"LASTCALL_RUDE": load}, **tables)


def begin_nothing(daemon):
    """A call that its handler may use for anything."""
    channel = daemon.channel()
    method = channel.unary_unary("/lastcall.test.Rude/Nothing",
                                 request_serializer=bytes, response_deserializer=bytes)
    call = method.future(b"", timeout=PATIENCE, wait_for_ready=True)
    call.channel = channel  # which would end with its last reference
    return call


def await_incarnation(daemon, number):
    wait_until(lambda: daemon.process_status().incarnation == number and
               daemon.process_stage() == "serving", f"incarnation {number} serves")


def mask(pid, which, thread=None):
    """A set of signals in the kernel's view of a process or thread, as a list of numbers."""
    path = f"/proc/{pid}/task/{thread}/status" if thread else f"/proc/{pid}/status"
    text = pathlib.Path(path).read_text(encoding="utf-8")
    (line,) = [each for each in text.splitlines() if each.startswith(which + ":")]
    bits = int(line.split()[1], 16)
    return [number for number in range(1, 65) if bits >> (number - 1) & 1]


def threads(pid):
    """All but the one that waits for signals, which the kernel shows as open to them."""
    return [int(entry.name) for entry in pathlib.Path(f"/proc/{pid}/task").iterdir()
            if (entry / "comm").read_text(encoding="utf-8") != "signal-reader\n"]


def sockets(pid):
    """That a process has open, by their inodes."""
    links = [os.readlink(each) for each in pathlib.Path(f"/proc/{pid}/fd").iterdir()
             if each.is_symlink()]
    return {each for each in links if each.startswith("socket:")}


class ConductTest(unittest.TestCase):
    def test_a_polite_one_is_not_mentioned(self):
        with Daemon() as daemon:
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)
            self.assertNotIn("plugin echo of server", daemon.log())

    def test_takes_a_signal_of_the_host(self):
        with rude(constructor="take SIGTERM") as daemon:
            (host,) = daemon.hosts()
            self.assertRegex(daemon.log(), WHO + r"has set SIGTERM to a handler of its own, .*"
                                                 r"OnSignal.* in rude.so; it was put back")
            self.assertNotIn(signal.SIGTERM, mask(host, "SigCgt"))
            # The host still hears it.
            os.kill(host, signal.SIGTERM)
            wait_until(lambda: "stop requested by SIGTERM" in daemon.log(), "it is heard")

    def test_takes_sigpipe(self):
        with rude(constructor="ignore SIGPIPE not") as daemon:
            (host,) = daemon.hosts()
            self.assertIn(WHO + "has set SIGPIPE to the default action; it was put back",
                          daemon.log())
            self.assertIn(signal.SIGPIPE, mask(host, "SigIgn"))

    def test_takes_another_signal(self):
        with rude(load="take SIGSEGV") as daemon:
            self.assertRegex(daemon.log(), WHO + "has set SIGSEGV to a handler .*OnSignal.*; "
                                                 "leave signals alone, or give its server")
            (host,) = daemon.hosts()
            self.assertIn(signal.SIGSEGV, mask(host, "SigCgt"))

    def test_opens_the_mask_of_its_thread(self):
        with rude(constructor="unblock") as daemon:
            (host,) = daemon.hosts()
            self.assertIn(WHO + "has unblocked SIGTERM in the thread that made it; they were "
                                "blocked again", daemon.log())
            for thread in threads(host):
                self.assertIn(signal.SIGTERM, mask(host, "SigBlk", thread))

    def test_opens_the_mask_of_another_thread(self):
        with rude(load="unblock in a thread") as daemon:
            self.assertRegex(daemon.log(), WHO + r"has unblocked SIGTERM in thread \d+ "
                                                 r"\(rude-worker\)")

    def test_forks(self):
        with rude(constructor="fork") as daemon:
            self.assertRegex(daemon.log(), WHO + r"has started the child process \d+ .*"
                                                 r"\[process\.X\]")
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)
            self.assertRegex(daemon.log(), WHO + r"has left its child process \d+ .* behind")
            # It goes with the process that it came from.
            daemon.assert_nothing_left()

    def test_talks_over_the_control_channel(self):
        """More than a host may say: large or small, it is ended by name, and comes back."""
        for flood in ("flood", "flood of 3 MB", "flood of 60 MB"):
            with self.subTest(flood), rude(call=flood) as daemon:
                call = begin_nothing(daemon)
                daemon.wait_log("process main: it sent more over its control channel than")
                daemon.wait_log("process main: killed by lastcalld: it sent more over its control "
                                "channel than")
                self.assertEqual(call.code(), grpc.StatusCode.UNAVAILABLE)
                await_incarnation(daemon, 2)
                self.assertEqual(daemon.process_status().restarts, 1)
                self.assertIn("more over its control", daemon.process_status().last_exit)

    def test_a_shutdown_is_heard_through_all_that_a_host_says(self):
        for flood in ("flood", "flood of 3 MB", "flood of 60 MB"):
            with self.subTest(flood), rude(call=flood) as daemon:
                call = begin_nothing(daemon)
                daemon.wait_log("rude: about to flood")
                began = time.monotonic()
                self.assertEqual(daemon.current_stage(), "serving")
                daemon.signal(signal.SIGTERM)
                daemon.wait()
                self.assertLess(time.monotonic() - began, SLACK)
                self.assertTrue(call.done())
                daemon.assert_nothing_left()

    def test_a_first_start_that_floods_is_refused_by_name(self):
        with rude(constructor="flood of 60 MB", wait=False) as daemon:
            self.assertEqual(daemon.wait(), INTERNAL)
            self.assertIn("more over its control channel than", daemon.receipt()["failure"])
            daemon.assert_nothing_left()

    def test_its_children_do_not_get_the_control_channel(self):
        with rude() as daemon:
            (host,) = daemon.hosts()
            flags = pathlib.Path(f"/proc/{host}/fdinfo/3").read_text(encoding="utf-8")
            self.assertTrue(int(flags.split("flags:")[1].split()[0], 8) & os.O_CLOEXEC)

    def test_turns_health_back(self):
        servers = {"public": {"plugins": ["echo", RUDE], "config": {"rude": {"health": True}}}}
        with Daemon(servers=servers, shutdown={"delay": "3s"}) as daemon:
            health = Health(daemon.channel())
            self.assertEqual(health.check("lastcall.test.Rude"), "SERVING")
            daemon.signal(signal.SIGTERM)
            daemon.wait_log("sets the health of")
            for service in ("", "lastcall.test.Rude"):
                self.assertEqual(health.check(service), "NOT_SERVING")
            self.assertEqual(daemon.wait(), 0)
            self.assertEqual(daemon.log().count("sets the health of"), 1)
            self.assertIn(WHO + 'sets the health of "lastcall.test.Rude" to SERVING during a '
                                "shutdown", daemon.log())

    def test_ends_the_process_at_a_start(self):
        for what, how in (("abort", "killed by SIGABRT"), ("exit", "exit code 7")):
            if what == "exit" and SANITIZED:  # which have exit codes of their own
                continue
            with self.subTest(what), rude(load=what, wait=False) as daemon:
                self.assertEqual(daemon.wait(), INTERNAL)
                failure = daemon.receipt()["failure"]
                self.assertIn("process main: " + WHO + "ended the process", failure)
                self.assertIn(how, failure)
                self.assertIn("rude: about to " + what, daemon.log())
                daemon.assert_nothing_left()


class PreflightTest(unittest.TestCase):
    """What can be known before anything depends on it."""

    def check(self, daemon, code=CONFIGURATION):
        """What --check says of a daemon's configuration, which is not started."""
        began = time.monotonic()
        done = run(BIN / "lastcalld", "--config", daemon.config, "--check", env=daemon.env)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        wait_until(lambda: not daemon.processes(), "nothing is left behind", 5)
        return done.stdout + done.stderr, time.monotonic() - began

    @contextlib.contextmanager
    def unstarted(self, **kwargs):
        """A daemon's folder and configuration alone."""
        daemon = rude(wait=False, **kwargs)
        daemon.start = lambda: None
        try:
            yield daemon
        finally:
            for pid in daemon.processes():
                os.kill(pid, signal.SIGKILL)

    def test_check_loads_what_is_good(self):
        with self.unstarted() as daemon:
            said, _ = self.check(daemon, 0)
            self.assertIn("the configuration is good", said)

    def test_check_names_who_ends_the_process(self):
        for step, what, how in (("load", "abort", "loading it ended the process by SIGABRT"),
                                ("load", "crash", "loading it ended the process by SIGSEGV"),
                                ("load", "exit", "loading it ended the process with exit code 7"),
                                ("check", "abort", "its Check ended the process by SIGABRT"),
                                ("check", "exit", "its Check ended the process with exit code 7")):
            if what == "exit" and SANITIZED:
                continue
            with self.subTest(step=step, what=what), self.unstarted(**{step: what}) as daemon:
                said, _ = self.check(daemon)
                self.assertEqual(len(said.splitlines()), 1, said)
                self.assertRegex(said, f'^{daemon.config}:\\d+: server "public", plugin "rude": ')
                self.assertIn(f"{how}, and said last: rude: about to {what}", said)
                self.assertIn(RUDE, said)

    def test_check_ends_who_hangs(self):
        for step, what in (("load", "hang"), ("check", "hang"), ("load", "chatter")):
            with self.subTest(step=step, what=what), \
                    self.unstarted(reload={"ready": "1s"}, **{step: what}) as daemon:
                said, took = self.check(daemon)
                self.assertIn("has not returned after 1s ([reload] ready)", said)
                self.assertLess(took, 1 + SLACK)

    def test_check_believes_no_flood(self):
        for flood in ("flood", "flood of steps", "flood of 3 MB", "flood of 60 MB"):
            with self.subTest(flood), self.unstarted(load=flood) as daemon:
                self.assertIn(" writes into descriptor 3", self.check(daemon)[0])

    def test_check_tries_the_others_all_the_same(self):
        settings = {"echo": {"health": "sick"}, "rude": {"check": "abort"}}
        servers = {"public": {"plugins": [RUDE, "echo"], "config": settings},
                   "other": {"process": "other", "config": {"echo": {"health": "ill"}}}}
        daemon = Daemon(servers=servers, wait=False)
        said, _ = self.check(daemon)
        self.assertEqual(len(said.splitlines()), 3, said)
        self.assertIn('server "public", plugin "rude": its Check ended the process', said)
        self.assertRegex(said, 'server "public", plugin "echo": .*health: must be')
        self.assertRegex(said, 'server "other", plugin "echo": .*health: must be')

    def test_check_warns_of_what_is_spoiled(self):
        with self.unstarted(load="take SIGSEGV", check="fork") as daemon:
            said, _ = self.check(daemon, 0)
            self.assertIn('warning: server "public", plugin "rude": it has set SIGSEGV', said)
            self.assertIn('warning: server "public", plugin "rude": it has started the child', said)

    def test_check_without_a_host_that_works(self):
        with self.unstarted() as daemon:
            shutil.copy(BIN / "lastcalld", daemon.folder)
            host = daemon.folder / "lastcall-host"
            host.write_text("#!/bin/sh\necho no more disk >&2\nexit 3\n", encoding="utf-8")
            host.chmod(0o755)
            done = run(daemon.folder / "lastcalld", "--config", daemon.config, "--check")
            self.assertEqual(done.returncode, INTERNAL)
            self.assertEqual(done.stderr, "lastcalld: plugins could not be tried: lastcall-host "
                                          "--preflight ended with exit code 3: no more disk\n")

    def test_check_is_ended_by_a_terminal(self):
        with self.unstarted(load="hang") as daemon:
            check = subprocess.Popen([BIN / "lastcalld", "--config", daemon.config, "--check"],
                                     env=daemon.env, stderr=subprocess.DEVNULL)
            wait_until(lambda: len(daemon.processes()) == 2, "it tries the plugin")
            check.send_signal(signal.SIGINT)
            self.assertEqual(check.wait(PATIENCE), -signal.SIGINT)
            wait_until(lambda: not daemon.processes(), "the child is gone", AT_ONCE)


class ReloadTest(unittest.TestCase):
    """A daemon with the echo plugin, whose configuration then names the rude one too."""

    @contextlib.contextmanager
    def serving(self, load=None, check="", **config):
        with Daemon(env={"LASTCALL_RUDE": load}, **config) as daemon, Busy(daemon) as busy:
            text = daemon.config.read_text(encoding="utf-8")
            text = text.replace('plugins = ["echo"]', f'plugins = ["echo", "{RUDE}"]')
            text += f'\n[server.public.config.rude]\ncheck = "{check}"\n'
            daemon.config.write_text(text, encoding="utf-8")
            host = daemon.process_pid()
            yield daemon
            if alive(daemon.pid):
                self.assertEqual(daemon.process_pid(), host)
                self.assertEqual(set(busy.pids), {host})
        if daemon.process.returncode is None:
            self.assertEqual(busy.failed, [])

    def test_refused_and_nothing_has_changed(self):
        for args in ((), ("--dry-run",)):
            with self.subTest(args), self.serving(load="abort") as daemon:
                done = daemon.ctl("reload", *args)
                self.assertNotEqual(done.returncode, 0, done.stdout)
                said = done.stdout + done.stderr
                self.assertIn('server "public", plugin "rude": loading it ended the process by '
                              "SIGABRT, and said last: rude: about to abort", said)

    def test_the_daemon_answers_meanwhile(self):
        with self.serving(check="hang", reload={"ready": "2s"}) as daemon:
            asked = subprocess.Popen(daemon.ctl_command("reload"), stderr=subprocess.PIPE,
                                     stdout=subprocess.DEVNULL, text=True)
            wait_until(lambda: len(daemon.hosts()) == 2, "the plugin is tried")
            began = time.monotonic()
            self.assertEqual(daemon.current_stage(), "serving")
            self.assertLess(time.monotonic() - began, AT_ONCE)
            said = asked.communicate(timeout=PATIENCE)[1]
            self.assertIn("its Check has not returned after 2s", said)
            self.assertEqual(len(daemon.hosts()), 1)

    def test_who_stays_behind_has_nothing_of_the_daemons(self):
        """A session of its own is out of reach; what it took along leads nowhere."""
        with self.serving(check="leave and hang", reload={"ready": "2s"}) as daemon:
            before = set(daemon.processes())
            self.assertIn("its Check has not returned after 2s", daemon.ctl("reload").stderr)
            (stray,) = set(daemon.processes()) - before
            self.assertEqual(sockets(stray) & sockets(daemon.pid), set())
            os.kill(stray, signal.SIGKILL)

    def test_a_shutdown_does_not_wait_for_it(self):
        with self.serving(check="hang") as daemon:
            asked = subprocess.Popen(daemon.ctl_command("reload"), stderr=subprocess.PIPE,
                                     stdout=subprocess.DEVNULL, text=True)
            wait_until(lambda: len(daemon.hosts()) == 2, "the plugin is tried")
            began = time.monotonic()
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)
            self.assertLess(time.monotonic() - began, SLACK)
            self.assertIn("a shutdown is in progress", asked.communicate(timeout=PATIENCE)[1])
            daemon.assert_nothing_left()


class ClashTest(unittest.TestCase):
    """Two plugins that bring the same .proto file into one process."""

    BOTH = [RUDE, str(WRONG / "copycat.so")]
    SAID = ("plugins rude and copycat both bring rude.proto", 'process = "…"',
            "lastcall_add_protos(… SHARED)")

    def expect(self, said):
        for text in self.SAID:
            self.assertIn(text, said)

    def test_check_and_start(self):
        for args in (("--check",), ()):
            daemon = rude(plugins=self.BOTH, load="abort", wait=False)
            with self.subTest(args):
                done = run(BIN / "lastcalld", "--config", daemon.config, *args, env=daemon.env)
                self.assertEqual(done.returncode, CONFIGURATION)
                self.expect(done.stderr)
                # Neither was loaded.
                self.assertNotIn("about to", done.stderr)

    def test_reload(self):
        with rude() as daemon:
            text = daemon.config.read_text(encoding="utf-8")
            daemon.config.write_text(text.replace(f'["{RUDE}"]', str(self.BOTH).replace("'", '"')),
                                     encoding="utf-8")
            done = daemon.ctl("reload")
            self.assertNotEqual(done.returncode, 0)
            self.expect(done.stderr)

    def test_remedy(self):
        servers = {"other": {"plugins": self.BOTH[1:], "process": "other"}}
        with rude(servers=servers) as daemon:
            self.assertEqual(len(daemon.hosts()), 2)


class ConfigurationTest(unittest.TestCase):
    UNCHECKED = (" is not read by the plugin's Check, and is refused at a start if its "
                 "constructor does not read it either; ")

    def place(self, daemon, key):
        lines = daemon.config.read_text(encoding="utf-8").splitlines()
        line = next(at for at, each in enumerate(lines, 1) if each.startswith(key))
        return f"{daemon.config}:{line}: "

    def checked(self, server, **kwargs):
        """The daemon, which is not started, and what --check said of its configuration."""
        daemon = Daemon({"public": server}, wait=False, **kwargs)
        self.addCleanup(shutil.rmtree, daemon.folder)
        done = run(BIN / "lastcalld", "--config", daemon.config, "--check", env=daemon.env)
        self.assertEqual(done.returncode, 0, done.stderr)
        return daemon, done.stderr

    def test_key_that_a_check_does_not_read(self):
        daemon, said = self.checked({"config": {"echo": {"greetng": "hi"}}})
        self.assertEqual(said, f"warning: {self.place(daemon, 'greetng')}server.public.config.echo."
                               f'greetng{self.UNCHECKED}did you mean "greeting"?\n')
        # It may be right: the constructor reads it.
        daemon, said = self.checked({"plugins": [RUDE], "config": {"rude": {"stop": ""}}})
        self.assertEqual(said, f"warning: {self.place(daemon, 'stop')}server.public.config.rude."
                               f"stop{self.UNCHECKED}known is check\n")

    def test_plugin_without_a_check_is_not_accused(self):
        _, said = self.checked({"plugins": ["hello"], "config": {"hello": {"wrod": "hi"}}})
        self.assertEqual(said, "")

    def test_reload_names_what_a_check_does_not_read(self):
        with Daemon() as daemon:
            with daemon.config.open("a", encoding="utf-8") as config:
                config.write('\n[server.public.config.echo]\ngreetng = "hi"\n')
            said = f"{self.place(daemon, 'greetng')}server.public.config.echo.greetng"
            daemon.ctl("reload", "--dry-run", check=True)
            self.assertIn(said + self.UNCHECKED, daemon.log())
            done = daemon.ctl("reload")
            self.assertEqual(done.returncode, 1)
            self.assertEqual(daemon.log().count(said), 2)
            self.assertIn('unknown key server.public.config.echo.greetng; did you mean "greeting"?',
                          done.stdout + done.stderr)

    def test_unread_key(self):
        with Daemon({"public": {"config": {"echo": {"greetng": "hi"}}}}, wait=False) as daemon:
            self.assertEqual(daemon.wait(), CONFIGURATION)
            self.assertIn(self.place(daemon, "greetng") + "unknown key server.public.config.echo."
                          'greetng; did you mean "greeting"?', daemon.log())

    def test_one_instance_per_server(self):
        servers = {"a": {"config": {"echo": {"greeting": "from a"}}},
                   "b": {"config": {"echo": {"greeting": "from b"}}}}
        with Daemon(servers=servers) as daemon:
            self.assertEqual(len(daemon.hosts()), 1)
            for name in servers:
                self.assertEqual(daemon.slow(0, name=name).text(), f"from {name} slept")


if __name__ == "__main__":
    unittest.main()
