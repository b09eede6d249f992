"""lastcalld executes its own new binary in place: same pid, same hosts, and nobody notices."""

import functools
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import grpc

import echo_pb2_grpc
from clients import SANITIZED, SLACK, Busy, Health, wait_until, word
from echo_pb2 import EchoRequest
from harness import BIN, Daemon, run
from lastcall.admin.v1 import admin_pb2

FAILED, REFUSED = 1, 5


@functools.cache
def stripped(name):
    """The program without debug information, which would be written again and again."""
    with tempfile.NamedTemporaryFile() as file:
        run("strip", "--strip-debug", "-o", file.name, BIN / name).check_returncode()
        return pathlib.Path(file.name).read_bytes()


class Installed(Daemon):
    """A daemon whose programs are its own, and can be replaced."""

    def __init__(self, **config):
        super().__init__(reload={"settle": "200ms", "ready": "20s", **config.pop("reload", {})},
                         **config)
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        for name in ("lastcalld", "lastcall-host"):
            self.put(stripped(name), name)
        self.program = self.bin / "lastcalld"
        self.builds = 0

    def put(self, content, name="lastcalld"):
        """As a package does: the new file appears by rename."""
        new = self.bin / "new"
        new.write_bytes(content)
        new.chmod(0o755)
        new.rename(self.bin / name)

    def upgrade(self, name="lastcalld"):
        """Another build, which does the same."""
        self.builds += 1
        self.put(stripped(name) + f"build {self.builds}".encode(), name)

    def builds_taken(self):
        return self.log().count("resumed after re-exec")

    def reload(self, *args):
        done = self.ctl("reload", *args)
        return done.returncode, done.stdout + done.stderr

    def descriptors(self, pid=None):
        return len(os.listdir(f"/proc/{pid or self.pid}/fd"))


class TakesOverTest(unittest.TestCase):
    def test_same_pid_same_hosts_no_call_lost(self):
        with Installed() as daemon, Busy(daemon) as tcp, Busy(daemon, kind="unix") as unix:
            daemon.ctl("restart", "main").check_returncode()
            wait_until(lambda: len(daemon.hosts()) == 1, "the old one is gone")
            before = daemon.status()
            held = daemon.held()
            daemon.upgrade()
            self.assertIn("~ lastcalld: another build", daemon.reload("--dry-run")[1])
            self.assertEqual(daemon.builds_taken(), 0)
            code, said = daemon.reload()
            self.assertEqual((code, said), (0, "~ lastcalld: another build\n= process main\n"))
            after = daemon.status()
            self.assertEqual(daemon.builds_taken(), 1)
            self.assertEqual(after.pid, daemon.pid)
            self.assertGreaterEqual(after.uptime_s, before.uptime_s)
            self.assertEqual(after.processes[0].pid, before.processes[0].pid)
            self.assertEqual(after.processes[0].incarnation, 2)
            # Those of the incarnation that had ended before are among them.
            self.assertGreater(after.servers[0].calls_total, before.servers[0].calls_total)
            self.assertEqual(list(after.servers[0].listen), list(before.servers[0].listen))
            command = pathlib.Path(f"/proc/{daemon.pid}/cmdline").read_bytes().split(b"\0")
            self.assertEqual(command[:-1], [os.fsencode(each)
                                            for each in (daemon.program, *daemon.args)])
            self.assertEqual(pathlib.Path(f"/proc/{daemon.pid}/comm").read_text(), "lastcalld\n")
            self.assertFalse(os.path.samefile(f"/proc/{daemon.pid}/exe", BIN / "lastcalld"))
            self.assertEqual(held.finish(), "held")
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)
            self.assertEqual(daemon.receipt()["processes"][0]["exit_code"], 0)
            daemon.assert_nothing_left()
        # What failed began when nobody served any more.
        self.assertEqual([code for began, code, _ in tcp.failed + unix.failed
                          if began < held.ended], [])

    def test_nothing_leaks(self):
        with Installed() as daemon:
            counts = []
            for _ in range(5):
                daemon.upgrade()
                self.assertEqual(daemon.reload()[0], 0)
                daemon.status()
                wait_until(lambda: not counts or daemon.descriptors() <= counts[0],
                           "no more descriptors than after the first time", 10)
                counts.append(daemon.descriptors())
            self.assertEqual(daemon.builds_taken(), 5)

    def test_both_programs(self):
        """The new supervisor comes first; then it replaces the hosts, and keeps retired ones."""
        with Installed() as daemon:
            stays = daemon.held()
            old = daemon.process_pid()
            daemon.upgrade()
            daemon.upgrade("lastcall-host")
            code, said = daemon.reload()
            self.assertEqual(code, 0, said)
            self.assertIn("~ process main: ~lastcall-host", said)
            self.assertIn("process main: incarnation 2 serves", said)
            daemon.upgrade()
            self.assertEqual(daemon.reload()[0], 0)
            process = daemon.process_status()
            self.assertEqual([each.pid for each in process.retired], [old])
            self.assertGreater(process.retired[0].cancel_in_s, 500)
            self.assertEqual(stays.finish(), "held")
            wait_until(lambda: not daemon.process_status().retired, "the retired one is gone")
            self.assertIn("incarnation 1 retired", daemon.log())

    def test_idle_clients_that_a_host_left_behind_find_their_way(self):
        with Installed() as daemon:
            few, before = daemon.descriptors(), daemon.descriptors(daemon.process_pid())
            clients = [echo_pb2_grpc.EchoStub(daemon.channel(kind=kind))
                       for kind in ("tcp", "unix") * 10]
            for echo in clients:
                echo.Unary(EchoRequest(text="before"), timeout=10)
            daemon.ctl("restart", "main", check=True)
            wait_until(lambda: len(daemon.hosts()) == 1, "the old host is gone", 5)
            # Most of them: a client that happens to run meanwhile goes by itself (one or two of 20 here).
            wait_until(lambda: daemon.descriptors() >= few + 5, "it has left them behind", 5)
            daemon.upgrade()
            self.assertEqual(daemon.reload()[0], 0)
            daemon.ctl("restart", "main", check=True)
            for echo in clients[:10]:
                self.assertEqual(echo.Unary(EchoRequest(text="after"), timeout=10).text, "after")
            wait_until(lambda: daemon.descriptors() <= few + 2, "then they are closed", 20)
            for echo in clients[10:]:
                self.assertEqual(echo.Unary(EchoRequest(text="after"), timeout=10).text, "after")
            # Its own descriptors and 20 clients.
            wait_until(lambda: daemon.descriptors(daemon.process_pid()) <= before + 20, "no more", 10)

    def test_what_was_set_stays(self):
        with Installed() as daemon:
            daemon.ctl("drain", "public", "--reason", "moving", check=True)
            daemon.ctl("log-level", "warning", check=True)
            daemon.upgrade()
            self.assertEqual(daemon.reload()[0], 0)
            draining = daemon.server().draining
            self.assertEqual(draining.reason, "moving")
            self.assertGreater(draining.since_s, 0)
            self.assertEqual(daemon.status().log_level, "warning")
            self.assertEqual(Health(daemon.channel()).check(), "NOT_SERVING")

    def test_one_that_waits_is_started_again(self):
        with Installed() as daemon:
            for _ in range(5):  # each time it waits longer
                wait_until(lambda: daemon.hosts(), "there is a host")
                seen = daemon.process_status().restarts
                os.kill(daemon.hosts()[0], signal.SIGKILL)
                wait_until(lambda: daemon.process_status().restarts > seen, "it died")
                state = daemon.process_status()
                if word(state) == "waiting" and state.next_start_in_s > 0.5:
                    break
                wait_until(lambda: daemon.process_stage() == "serving", "it serves")
            restarts = daemon.process_status().restarts
            daemon.upgrade()
            self.assertEqual(daemon.reload()[0], 0)
            wait_until(lambda: daemon.process_stage() == "serving", "it serves")
            self.assertEqual(daemon.process_status().restarts, restarts)
            self.assertEqual(daemon.process_status().last_exit, "killed by SIGKILL")
            # And the new build sees its children die.
            os.kill(daemon.process_pid(), signal.SIGKILL)
            wait_until(lambda: daemon.process_status().restarts == restarts + 1, "it died again")

    def test_watchers_come_along(self):
        with Installed() as daemon:
            watch = subprocess.Popen(daemon.ctl_command("watch"), stdout=subprocess.PIPE, text=True)
            stopped = subprocess.Popen(daemon.ctl_command("wait", "stopped"),
                                       stdout=subprocess.PIPE, text=True)
            self.assertIn("serving", watch.stdout.readline())
            for _ in range(2):
                daemon.upgrade()
                self.assertEqual(daemon.reload()[0], 0)
            daemon.ctl("drain", "public", check=True)
            self.assertTrue(any("draining" in line for line in watch.stdout))
            daemon.ctl("shutdown", "--delay", "1s", check=True)
            self.assertIn("every call finished", watch.communicate(timeout=30)[0])
            self.assertEqual(watch.returncode, 0)
            self.assertIn("every call finished", stopped.communicate(timeout=30)[0])

    def test_many_ask_at_once(self):
        with Installed() as daemon:
            daemon.upgrade()
            outcomes = []
            threads = [threading.Thread(target=lambda: outcomes.append(daemon.reload()))
                       for _ in range(10)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual([said for code, said in outcomes if code != 0], [])
            self.assertEqual(daemon.builds_taken(), 1)

    def test_every_verb_is_answered_through_two_in_a_row(self):
        verbs = (("status",), ("servers",), ("config",), ("version",), ("log-level", "debug"),
                 ("drain", "public"), ("undrain", "public"), ("shutdown", "--dry-run"),
                 ("wait", "serving"))
        with Installed() as daemon:
            outcomes, over = [], threading.Event()

            def ask(verb):
                while not over.is_set():
                    done = daemon.ctl(*verb)
                    outcomes.append((verb, done.returncode, done.stderr))
            threads = [threading.Thread(target=ask, args=(verb,)) for verb in verbs]
            for thread in threads:
                thread.start()
            for _ in range(2):
                daemon.upgrade()
                self.assertEqual(daemon.reload()[0], 0)
            over.set()
            for thread in threads:
                thread.join()
            self.assertEqual([each for each in outcomes if each[1] != 0], [])
            self.assertEqual(daemon.builds_taken(), 2)

    def test_sighup(self):
        with Installed() as daemon:
            daemon.upgrade()
            daemon.signal(signal.SIGHUP)
            wait_until(lambda: daemon.builds_taken() == 1, "SIGHUP takes the new build")
            self.assertEqual(daemon.slow(0).text(), "slept")


class RefusedTest(unittest.TestCase):
    """The old build goes on, and says why."""

    def refused(self, daemon, *expected):
        code, said = daemon.reload()
        self.assertEqual(code, FAILED, said)
        for each in (*expected, "lastcalld"):
            self.assertIn(each, said)
        self.assertEqual(daemon.builds_taken(), 0)
        self.assertEqual(daemon.process_status().incarnation, 1)

    def test_what_cannot_take_over(self):
        programs = {
            "oh no": 'fputs("oh no\\n", stderr); return 3;',
            "killed by SIGKILL": "raise(SIGKILL);",
            "longer than": "sleep(60);",
            "did not prove that it is a lastcalld": "return 0;",
        }
        with Installed(reload={"ready": "4s" if SANITIZED else "2s"}) as daemon, \
                Busy(daemon) as busy:
            daemon.put(b"garbage")
            self.refused(daemon, "does not start", "Exec format error")
            daemon.put((BIN / "lastcalld").read_bytes()[:8192])
            self.refused(daemon)
            for words, body in programs.items():
                with self.subTest(words):
                    daemon.put(self.program(daemon, body))
                    self.refused(daemon, "cannot take over", words)
            with self.subTest("a link to another program"):
                daemon.program.unlink()
                daemon.program.symlink_to("/bin/true")
                self.refused(daemon, "cannot take over", "did not prove that it is a lastcalld")
            with self.subTest("a wrong word"):
                daemon.put(self.program(daemon, self.SAY.format("made up")))
                self.refused(daemon, "cannot take over", "did not prove that it is a lastcalld")
        self.assertEqual(busy.failed, [])

    # Into whatever it was given.
    SAY = 'for (int fd = 3; fd < 1024; ++fd) if (write(fd, "{0}", sizeof("{0}") - 1) < 0) continue;'

    def stray(self, daemon, body, after):
        """Leaves a process of a session of its own behind, which does this; then ends like that."""
        daemon.put(self.program(
            daemon, f'if (fork() == 0) {{ setsid(); {body} for (;;) pause(); }} {after}'))

    def test_who_stays_behind_has_nothing_of_the_daemons(self):
        """Not a listening socket, which would take connections with it; not a control channel."""
        listing = ('system("ls -l /proc/$PPID/fd > {0}/new"); rename("{0}/new", "{0}/stray");')
        for after in ("sleep(60);", "return 0;", "return 3;"):
            with self.subTest(after), \
                    Installed(reload={"ready": "4s" if SANITIZED else "2s"}) as daemon:
                host, port = daemon.address().rsplit(":", 1)
                # The check ends when the listing is there, or does not end at all.
                wait = f'while (access("{daemon.folder}/stray", 0) != 0) usleep(1000); '
                self.stray(daemon, listing.format(daemon.folder), wait + after)
                self.refused(daemon, "cannot take over")
                theirs = set(re.findall(r"socket:\[\d+\]", (daemon.folder / "stray").read_text()))
                ours = {os.readlink(each)
                        for each in pathlib.Path(f"/proc/{daemon.pid}/fd").iterdir()
                        if each.is_symlink()}
                self.assertEqual(theirs & ours, set())
                daemon.signal(signal.SIGTERM)
                self.assertEqual(daemon.wait(), 0)
                with self.assertRaises(ConnectionRefusedError):
                    socket.create_connection((host, int(port))).close()

    def test_who_stays_behind_and_never_ends_to_speak(self):
        with Installed() as daemon:
            self.stray(daemon, 'for (;;) if (write(1, "more ", 5) < 0) _exit(0);', "return 3;")
            self.assertEqual(daemon.reload()[0], FAILED)
            self.assertIn("which cannot take over: exit code 3", daemon.log())
            self.assertEqual(daemon.current_stage(), "serving")

    def test_who_stays_behind_in_its_group_is_killed(self):
        for after in ("sleep(60);", "return 3;"):
            with self.subTest(after), \
                    Installed(reload={"ready": "4s" if SANITIZED else "2s"}) as daemon:
                daemon.put(self.program(
                    daemon, 'if (fork() == 0) for (;;) pause(); ' + after))
                before = set(daemon.processes())
                self.refused(daemon, "cannot take over")
                wait_until(lambda: set(daemon.processes()) == before, "it is gone")

    def test_one_whose_child_never_stops_talking(self):
        with Installed() as daemon:
            # What it says is more than a status has room for.
            daemon.put(self.program(daemon, "static char talk[16384]; "
                                            "for (int i = 0; i < 16384; ++i) talk[i] = 'x'; "
                                            "write(2, talk, sizeof talk); if (fork() != 0) return 3; "
                                            "while (write(2, talk, sizeof talk) > 0); return 0;"))
            self.refused(daemon, "cannot take over", "exit code 3")
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)

    def program(self, daemon, body):
        """One that does this, whatever it is given."""
        source = daemon.folder / "program.c"
        source.write_text("#include <signal.h>\n#include <stdio.h>\n#include <sys/stat.h>\n"
                          "#include <stdlib.h>\n#include <fcntl.h>\n"
                          f"#include <unistd.h>\nint main(int argc, char** argv) {{ {body} }}\n")
        done = run("cc", "-o", daemon.folder / "program", source)
        self.assertEqual(done.returncode, 0, done.stderr)
        return (daemon.folder / "program").read_bytes()

    def test_an_execution_that_fails(self):
        """At the last moment: the proof was given, and then nobody may execute the file."""
        with Installed() as daemon, Busy(daemon) as busy:
            watch = subprocess.Popen(daemon.ctl_command("watch"), stdout=subprocess.PIPE, text=True)
            self.assertIn("serving", watch.stdout.readline())
            daemon.put(self.program(daemon, self.proves('chmod("/proc/self/exe", 0);')))
            self.refused(daemon, "cannot execute", "Permission denied")
            self.assertIn("this build goes on", daemon.log())
            self.assertEqual(daemon.slow(0).text(), "slept")
            daemon.upgrade()
            self.assertEqual(daemon.reload()[0], 0)
            daemon.ctl("drain", "public", check=True)
            self.assertTrue(any("draining" in line for line in watch.stdout))
            self.assertEqual(busy.failed, [])
            daemon.signal(signal.SIGTERM)
            self.assertEqual(watch.wait(30), 0)
            watch.stdout.close()

    def proves(self, body):
        """Does this, and then proves itself as a real build does."""
        return f'{body} execv("{BIN / "lastcalld"}", argv); return 1;'

    def test_one_that_is_overwritten_after_its_proof(self):
        with Installed() as daemon:
            daemon.put(self.program(
                daemon, self.proves('utimensat(AT_FDCWD, "/proc/self/exe", NULL, 0);')))
            self.refused(daemon, "was overwritten after it had proved itself")
            self.assertIn("this build goes on", daemon.log())

    def test_a_bad_configuration(self):
        with Installed() as daemon:
            good = daemon.config.read_text()
            daemon.config.write_text(good + "nonsense = 1\n")
            daemon.upgrade()
            self.refused(daemon, f"{daemon.config}:", "nonsense")
            daemon.config.write_text(good)
            self.assertEqual(daemon.reload()[0], 0)
            self.assertEqual(daemon.builds_taken(), 1)

    def test_a_program_that_is_gone(self):
        with Installed() as daemon:
            daemon.program.unlink()
            code, said = daemon.reload()
            self.assertEqual((code, said), (0, "= process main\nnothing has changed\n"))
            self.assertIn("the running build goes on", daemon.log())

    def test_a_state_from_nowhere(self):
        with Daemon(env={"LASTCALL_RESUME": "5"}, wait=False) as daemon:
            self.assertEqual(daemon.wait(), 70)
            self.assertIn("LASTCALL_RESUME=5 is not a state of lastcalld", daemon.log())

    def test_unknown_reloads(self):
        with Installed() as daemon:
            with self.assertRaises(grpc.RpcError) as failed:
                daemon.admin().Reload(admin_pb2.ReloadRequest(continues=7), timeout=10)
            self.assertEqual(failed.exception.code(), grpc.StatusCode.NOT_FOUND)


class StopTest(unittest.TestCase):
    def test_sigterm_at_each_step(self):
        """It stops in its stages, in whichever build; the receipt is there."""
        taken, delay = [], 0
        # Closer together than the steps, and on until the new build is there long since.
        while taken[-2:] != [1, 1]:
            self.assertLess(delay, 20)
            with Installed() as daemon:
                daemon.upgrade()
                reload = subprocess.Popen(daemon.ctl_command("reload"),
                                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                time.sleep(delay)
                delay += max(0.012, delay / 8)
                began = time.monotonic()
                daemon.signal(signal.SIGTERM)
                self.assertEqual(daemon.wait(), 0, daemon.log())
                self.assertLess(time.monotonic() - began, 3 + SLACK)
                self.assertEqual(daemon.receipt()["exit_code"], 0)
                self.assertIn(reload.wait(30), (0, FAILED, REFUSED, 69))
                daemon.assert_nothing_left()
                taken.append(daemon.builds_taken())
        self.assertIn(0, taken)


if __name__ == "__main__":
    unittest.main()
