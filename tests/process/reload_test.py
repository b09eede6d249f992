"""Reload and restart: what changes is replaced, what fails is undone, and no call is lost."""

import contextlib
import grp
import os
import shutil
import signal
import socket
import threading
import time
import unittest

import grpc

import echo_pb2_grpc
from clients import PATIENCE, SLACK, Busy, Health, wait_until, word
from echo_pb2 import EchoRequest
from harness import BIN, PLUGINS, Daemon
from hostile_peers import END_HEADERS, GOAWAY, HEADERS, Peer, frame, request

FAILED, NO_SUCH_NAME, REFUSED = 1, 4, 5
SETTLE = 0.3


class ReloadTest(unittest.TestCase):
    def daemon(self, **config):
        """With a plugin folder of its own."""
        reload = {"settle": "300ms", "ready": "20s", **config.pop("reload", {})}
        daemon = Daemon(reload=reload, **config)
        plugins = daemon.folder / "plugins"
        plugins.mkdir()
        for name in ("echo", "callback_echo"):
            shutil.copy(PLUGINS / f"{name}.so", plugins)
        daemon.plugins = plugins
        daemon.config.write_text(daemon.config.read_text().replace(str(PLUGINS), str(plugins)))
        return daemon

    def edit(self, daemon, before, after):
        text = daemon.config.read_text()
        self.assertIn(before, text)
        daemon.config.write_text(text.replace(before, after))

    @contextlib.contextmanager
    def nothing_lost(self, daemon):
        """Busy callers over TCP and unix, who all get their answers."""
        with Busy(daemon) as tcp, Busy(daemon, kind="unix") as unix:
            yield tcp
        self.assertEqual(tcp.failed + unix.failed, [])

    def reload(self, daemon, *args, code=0):
        done = daemon.ctl("reload", *args)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def incarnation(self, daemon, name="main"):
        return daemon.process_status(name).incarnation

    def set_echo(self, daemon, **settings):
        """What the echo plugin is configured with, from now on."""
        text = daemon.config.read_text().split("[server.public.config.echo]")[0]
        lines = [f'{key} = "{value}"' for key, value in settings.items()]
        daemon.config.write_text("\n".join([text, "[server.public.config.echo]", *lines, ""]))


class ChangeTest(ReloadTest):
    def test_nothing_has_changed(self):
        with self.daemon() as daemon:
            os.utime(daemon.plugins / "echo.so")  # by content, not by date
            self.assertEqual(self.reload(daemon), "= process main\nnothing has changed\n")
            self.assertEqual(self.reload(daemon, "--dry-run"),
                             "= process main\nnothing would change\n")
            self.assertEqual(self.incarnation(daemon), 1)

    def test_it_says_which_settings_have_which_value(self):
        with self.daemon() as daemon:
            self.set_echo(daemon, greeting="changed")
            self.edit(daemon, 'settle = "300ms"', 'settle = "200ms"')
            listed = ["~ process main: ~configuration of plugin echo of server public",
                      '    server.public.config.echo.greeting: (not set) → "changed"',
                      "~ reload", '    reload.settle: "300ms" → "200ms"']
            self.assertEqual(self.reload(daemon, "--dry-run").splitlines(), [
                *listed, "process main: would be replaced", "reload: would be changed"])
            self.assertEqual(self.incarnation(daemon), 1)
            self.assertEqual(self.reload(daemon).splitlines(), [
                *listed, "process main: incarnation 2 serves", "reload: changed"])
            # What fails is said too, and what stays as it was because of it.
            self.set_echo(daemon, fail_start="no licence")
            self.edit(daemon, 'settle = "200ms"', 'settle = "100ms"')
            said = self.reload(daemon, code=FAILED).splitlines()
            self.assertIn('    server.public.config.echo.fail_start: (not set) → "no licence"', said)
            self.assertEqual(said[-1], "as before: reload")
            self.assertEqual(daemon.json("config")["config"]["reload"]["settle"], "200ms")
            self.assertEqual(self.reload(daemon, "--no-wait").splitlines()[-1],
                             'begun; "lastcallctl watch" shows what comes of it')

    def test_another_configuration(self):
        with self.daemon() as daemon, self.nothing_lost(daemon) as busy:
            self.set_echo(daemon, greeting="changed")
            said = self.reload(daemon, "--dry-run")
            self.assertIn("~ process main: ~configuration of plugin echo of server public", said)
            self.assertEqual(self.incarnation(daemon), 1)
            self.assertIn("process main: incarnation 2 serves", self.reload(daemon))
            self.assertTrue(daemon.slow(0).text().startswith("changed"))
            wait_until(lambda: len(daemon.hosts()) == 1, "the old one is gone", 5)
            (host,) = daemon.hosts()
            wait_until(lambda: busy.pids[-1] == host, "everybody is with the new one")

    def test_another_build_of_a_plugin(self):
        with self.daemon() as daemon, self.nothing_lost(daemon):
            with open(daemon.plugins / "new", "wb") as new:
                new.write((daemon.plugins / "echo.so").read_bytes() + b"another build")
            os.rename(daemon.plugins / "new", daemon.plugins / "echo.so")
            daemon.signal(signal.SIGHUP)
            wait_until(lambda: self.incarnation(daemon) == 2, "SIGHUP reloads")
            self.assertIn("reload: ~ process main: ~plugin echo", daemon.log())

    def test_a_plugin_overwritten_in_place(self):
        """Not as it should be done: the old incarnation may die of it, the daemon does not."""
        with self.daemon() as daemon:
            self.assertEqual(daemon.slow(0).text(), "slept")
            with open(daemon.plugins / "echo.so", "r+b") as file:
                file.truncate(0)
                file.write((PLUGINS / "echo.so").read_bytes() + b"another build")
            self.reload(daemon)
            wait_until(lambda: len(daemon.hosts()) == 1, "one is left", 10)
            self.assertEqual(daemon.slow(0).text(), "slept")
            self.assertGreater(self.incarnation(daemon), 1)

    def test_a_plugin_with_another_proto(self):
        with self.daemon() as daemon:
            os.replace(daemon.plugins / "callback_echo.so", daemon.plugins / "echo.so")
            self.assertIn("~plugin echo", self.reload(daemon))
            self.assertIn("lastcall.example.CallbackEcho", Health(daemon.channel()).list())

    def test_servers_and_processes_come_and_go(self):
        with self.daemon() as daemon, self.nothing_lost(daemon):
            before = daemon.config.read_text()
            address = daemon.folder / "second.sock"
            daemon.config.write_text(before + f'[server.second]\nlisten = ["unix:{address}"]\n'
                                     'plugins = ["callback_echo"]\nprocess = "other"\n')
            said = self.reload(daemon)
            self.assertIn("+ process other", said)
            self.assertIn("= process main", said)
            self.assertEqual(Health(daemon.channel("second", "unix")).check(), "SERVING")
            daemon.config.write_text(before)
            self.assertIn("- process other", self.reload(daemon))
            wait_until(lambda: len(daemon.hosts()) == 1, "it is gone", 5)
            self.assertFalse(address.exists())
            wait_until(lambda: [each.name for each in daemon.status().processes] == ["main"],
                       "and not shown any more")

    def test_the_second_of_two_fails_and_the_reload_after_it(self):
        with self.daemon(servers={"public": {}, "second": {"process": "other"}}) as daemon:
            before = daemon.config.read_text()
            changed = '[server.public.config.echo]\ngreeting = "changed"\n'
            failing = '[server.second.config.echo]\nfail_start = "no licence"\n'
            daemon.config.write_text(before + changed + failing)
            said = self.reload(daemon, code=FAILED)
            self.assertIn("process main: incarnation 2 serves", said)
            self.assertIn("process other: not changed: ", said)
            self.assertEqual(daemon.slow(0).text(), "changed slept")
            self.assertEqual(daemon.slow(0, name="second").text(), "slept")
            # What was changed is no change any more, and what failed was none.
            self.assertIn('greeting = "changed"', daemon.ctl("config").stdout)
            self.assertNotIn("no licence", daemon.ctl("config").stdout)
            daemon.config.write_text(before + changed)
            self.assertIn("nothing has changed", self.reload(daemon))
            self.assertEqual((self.incarnation(daemon), self.incarnation(daemon, "other")), (2, 1))

    def test_other_lengths_of_a_shutdown(self):
        with self.daemon(shutdown={"grace": "20s"}) as daemon:
            self.edit(daemon, 'grace = "20s"', 'grace = "300ms"')
            self.assertIn("= process main", self.reload(daemon))
            plan = daemon.json("shutdown", "--dry-run")["plan"]
            self.assertAlmostEqual(plan["cancel_in_s"], 0.3, delta=0.05)
            daemon.slow(60)
            daemon.await_calls(1)
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 3)
            self.assertAlmostEqual(daemon.stage("grace")["planned_s"], 0.3, delta=0.05)

    def test_another_restart_policy_of_a_process_that_is_as_it_was(self):
        with self.daemon() as daemon:
            daemon.config.write_text(daemon.config.read_text() + '[process.main]\n'
                                     'restart = "never"\n')
            self.reload(daemon)
            self.assertEqual(self.incarnation(daemon), 1)
            os.kill(daemon.process_pid(), signal.SIGKILL)
            daemon.wait_log("it stays down by its restart policy")

    def test_a_server_with_any_port_in_front_of_another(self):
        with self.daemon() as daemon, Busy(daemon) as busy:
            address = daemon.address()
            self.edit(daemon, "[server.public]", '[server.first]\nlisten = ["127.0.0.1:0"]\n'
                      'plugins = ["echo"]\n[server.public]')
            self.reload(daemon)
            self.assertEqual(daemon.address(), address)
            self.assertNotEqual(daemon.address("first"), address)
        self.assertEqual(busy.failed, [])

    def test_an_address_moves_to_another_process(self):
        with self.daemon() as daemon, Busy(daemon, kind="unix") as busy:
            self.edit(daemon, "[server.public]", "[server.renamed]\nprocess = \"elsewhere\"")
            said = self.reload(daemon)
            self.assertIn("+ process elsewhere", said)
            self.assertIn("- process main", said)
            wait_until(lambda: len(daemon.hosts()) == 1, "the old one is gone", 5)
            (host,) = daemon.hosts()
            wait_until(lambda: busy.pids[-1] == host, "its clients are with the other")
        self.assertEqual(busy.failed, [])

    def test_restart(self):
        with self.daemon() as daemon, self.nothing_lost(daemon):
            done = daemon.ctl("restart", "main", "--reason", "why not")
            self.assertEqual((done.returncode, done.stdout),
                             (0, "process main: incarnation 2 serves\n"))
            done = daemon.ctl("restart", "mian")
            self.assertEqual(done.returncode, NO_SUCH_NAME)
            self.assertIn('no process "mian"; did you mean "main"?', done.stderr)

    def test_a_storm(self):
        with self.daemon() as daemon, self.nothing_lost(daemon):
            outcomes = []
            def ask():
                done = daemon.ctl("reload")
                outcomes.append((done.returncode, done.stderr))
            self.set_echo(daemon, greeting="storm")
            threads = [threading.Thread(target=ask) for _ in range(50)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(outcomes, [(0, "")] * 50)
            self.assertEqual(self.incarnation(daemon), 2)

    def test_idle_clients_find_their_way(self):
        # gRPC's idle clients look at their connections every 5 s alone: their next call may be the
        # first to meet what has happened meanwhile, at any moment.
        with self.daemon() as daemon, Peer(daemon.address(kind="unix")) as late:
            late.acknowledge()
            clients = [(kind, after, echo_pb2_grpc.EchoStub(daemon.channel(kind=kind)))
                       for after in (0, 0, 0, 0.01, 0.1, 0.3, 0.5, 1, 4, 5.9, 6, 6.1, 6.5, 8)
                       for kind in ("tcp", "unix")]
            for _, _, echo in clients:
                echo.Unary(EchoRequest(text="before"), timeout=10)
            (old,) = daemon.hosts()
            daemon.ctl("restart", "main", check=True)
            began = time.monotonic()
            for kind, after, echo in clients:
                time.sleep(max(0, began + after - time.monotonic()))
                if after == 4:  # those before made their calls while it asked them to go
                    wait_until(lambda: old not in daemon.hosts(), "it does not wait for them", 1)
                with self.subTest(kind=kind, after=after):
                    self.assertEqual(echo.Unary(EchoRequest(text="after"), timeout=10).text, "after")
            # One that was held up for longer than that has not been given up either.
            call = request("/lastcall.example.Echo/Unary")
            self.assertTrue(late.send(frame(HEADERS, END_HEADERS, 1, call)))
            last_word = frame(GOAWAY, 0, 0, bytes(4))  # it knows of no call
            self.assertIn(last_word[3:], late.wait_closed())

    def test_large_messages_and_a_slow_reader(self):
        limits = {"public": {"limits": {"message": "32MiB"}}}
        large = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
        with self.daemon(servers=limits) as daemon:
            echo = echo_pb2_grpc.EchoStub(daemon.channel(options=large))
            # Ten megabytes of replies that nobody reads until the change is over.
            slow = echo_pb2_grpc.EchoStub(daemon.channel()).ServerStream(
                EchoRequest(text="x" * 100_000, count=100), timeout=PATIENCE)
            next(slow)
            text = "y" * (16 << 20)
            calls = [echo.Unary.future(EchoRequest(text=text), timeout=PATIENCE) for _ in range(4)]
            done = daemon.ctl("restart", "main")
            self.assertEqual(done.returncode, 0, done.stderr)
            for call in calls:
                self.assertEqual(len(call.result().text), len(text))
            self.assertEqual(sum(1 for _ in slow), 99)


class AddressTest(ReloadTest):
    """An address that the daemon itself holds, and that is to be another way."""

    def rewrite(self, daemon, kind, address):
        """Writes the address of that kind otherwise; its clients notice nothing."""
        text = daemon.config.read_text()
        (line,) = [each for each in text.splitlines() if each.startswith("listen")]
        old = next(each for each in line.split('"')[1::2]
                   if each.startswith("unix:") == (kind == "unix"))
        daemon.config.write_text(text.replace(f'"{old}"', f'"{address}"'))

    def expect_taken_over(self, daemon, kind, address):
        (host,) = daemon.hosts()
        with self.nothing_lost(daemon):
            self.rewrite(daemon, kind, address)
            self.assertIn("~listen of server public", self.reload(daemon, "--dry-run"))
            self.assertIn("serves", self.reload(daemon))
            wait_until(lambda: daemon.hosts() and host not in daemon.hosts(), "it is replaced", 5)
        self.assertEqual(daemon.slow(0, kind=kind).text(), "slept")

    def expect_refused(self, daemon, kind, address, *texts):
        before = daemon.config.read_text()
        self.rewrite(daemon, kind, address)
        for args in (("--dry-run",), ()):
            done = daemon.ctl("reload", *args)
            self.assertEqual(done.returncode, FAILED, (args, done.stdout, done.stderr))
            for text in texts:
                self.assertIn(text, done.stderr)
            self.assertNotIn("lastcalld (pid", done.stderr)
        self.assertEqual(self.incarnation(daemon), 1)
        daemon.config.write_text(before)

    def path(self, daemon):
        return daemon.address(kind="unix").removeprefix("unix:")

    def test_another_mode_and_another_spelling_of_a_path(self):
        with self.daemon() as daemon:
            path = self.path(daemon)
            inode = os.stat(path).st_ino
            group = grp.getgrgid(os.getegid()).gr_name
            detour = f"{os.path.dirname(path)}/./{os.path.basename(path)}"
            for written, mode in ((f"unix:{path}?mode=0660", 0o660), (f"unix:{path}", 0o666),
                                  (f"unix:{detour}?group={group}", 0o666)):
                with self.subTest(written):
                    self.expect_taken_over(daemon, "unix", written)
                    self.assertEqual(os.stat(path).st_mode & 0o777, mode)
                    self.assertEqual(os.stat(path).st_ino, inode, "clients meet the same socket")

    def test_a_mode_is_what_it_was_where_the_reload_fails(self):
        with self.daemon() as daemon:
            path = self.path(daemon)
            self.set_echo(daemon, fail_start="no licence")
            self.rewrite(daemon, "unix", f"unix:{path}?mode=0600")
            self.reload(daemon, code=FAILED)
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o666)
            self.set_echo(daemon)
            self.reload(daemon)
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)

    def test_a_group_that_is_not_there_is_foreseen(self):
        with self.daemon() as daemon:
            self.expect_refused(daemon, "unix", f"unix:{self.path(daemon)}?group=nobody-has-it",
                                'there is no group "nobody-has-it"')

    def test_another_spelling_of_a_port(self):
        with self.daemon() as daemon:
            port = daemon.address().rsplit(":", 1)[1]
            for written in (f"localhost:{port}", f"127.0.0.1:{port}"):
                with self.subTest(written):
                    self.expect_taken_over(daemon, "tcp", written)
                    self.assertEqual(
                        [each for each in daemon.server().listen if each.endswith(port)],
                        [f"127.0.0.1:{port}"])

    def test_wider_addresses(self):
        with self.daemon() as daemon:
            port = daemon.address().rsplit(":", 1)[1]
            for written, others in ((f"0.0.0.0:{port}", f"127.0.0.2:{port}"),
                                    (f"*:{port}", f"[::1]:{port}")):
                with self.subTest(written):
                    self.expect_taken_over(daemon, "tcp", written)
                    with grpc.insecure_channel(others) as channel:
                        echo = echo_pb2_grpc.EchoStub(channel)
                        self.assertEqual(echo.Unary(EchoRequest(text="x"), timeout=10).text, "x")
                    # And again, when all of it is there before.
                    daemon.ctl("restart", "main", check=True)
                    self.assertIn("nothing has changed", self.reload(daemon))

    def test_narrower_addresses_are_refused_and_foreseen(self):
        with self.daemon() as daemon:
            port = daemon.address().rsplit(":", 1)[1]
            self.expect_taken_over(daemon, "tcp", f"0.0.0.0:{port}")
            daemon.ctl("restart", "main", check=True)
            wide = daemon.config.read_text()
            self.rewrite(daemon, "tcp", f"127.0.0.2:{port}")
            for args in (("--dry-run",), ()):
                done = daemon.ctl("reload", *args)
                self.assertEqual(done.returncode, FAILED, done.stdout)
                self.assertIn(f"this daemon listens on 0.0.0.0:{port}", done.stderr)
                self.assertIn("leave the address out for one reload", done.stderr)
            daemon.config.write_text(wide)
            self.assertIn("nothing has changed", self.reload(daemon))

    def test_an_address_of_somebody_else_is_foreseen(self):
        with self.daemon() as daemon, socket.create_server(("127.0.0.1", 0)) as other:
            self.expect_refused(daemon, "tcp", f"127.0.0.1:{other.getsockname()[1]}",
                                "the address is in use by")


class FailureTest(ReloadTest):
    """Every way in which a new incarnation fails: reported, exit code 1, nothing lost."""

    def expect_failure(self, daemon, *texts, args=("reload",)):
        with self.nothing_lost(daemon):
            (host,) = daemon.hosts()
            done = daemon.ctl(*args)
            self.assertEqual(done.returncode, FAILED, done.stdout + done.stderr)
            for text in texts:
                self.assertIn(text, done.stdout + done.stderr)
            self.assertEqual(daemon.hosts(), [host])
            self.assertEqual(self.incarnation(daemon), 1)
            self.assertTrue(daemon.server().accepting)

    def test_bad_configuration(self):
        with self.daemon() as daemon:
            daemon.config.write_text(daemon.config.read_text() + "[server.x]\nlisten = 5\ny = 1\n")
            self.expect_failure(daemon, "server.x.listen", "server.x.y", "toml:")
            self.assertIn("reload refused, nothing has changed", daemon.log())

    def test_a_plugin_that_is_none(self):
        with self.daemon() as daemon:
            (daemon.plugins / "new").write_text("no plugin")
            os.rename(daemon.plugins / "new", daemon.plugins / "echo.so")
            self.expect_failure(daemon, 'plugin "echo"', "echo.so")

    def test_an_address_in_use(self):
        with self.daemon() as daemon:
            taken = daemon.address()
            daemon.config.write_text(daemon.config.read_text() +
                                     f'[server.x]\nlisten = ["{taken}"]\nplugins = ["echo"]\n')
            done = daemon.ctl("reload")
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(taken, done.stderr)
            self.assertEqual(self.incarnation(daemon), 1)

    def test_the_admin_socket_cannot_move(self):
        with self.daemon() as daemon:
            self.edit(daemon, "admin.sock", "other.sock")
            self.expect_failure(daemon, "admin.socket", "restart the daemon")

    def test_it_refuses_to_start(self):
        with self.daemon() as daemon:
            self.set_echo(daemon, fail_start="no licence")
            self.expect_failure(daemon, "process main: not changed", "no licence")

    def test_it_reads_keys_that_nobody_knows(self):
        with self.daemon() as daemon:
            self.set_echo(daemon, greting="typo")
            self.expect_failure(daemon, "greting", "greeting")

    def test_it_is_not_ready_in_time(self):
        with self.daemon(reload={"ready": "1s"}) as daemon:
            self.set_echo(daemon, hang_start="60s")
            self.expect_failure(daemon, "plugin echo: constructor has not returned")

    def kill_successor(self, daemon, step):
        def there():
            for process in daemon.status().processes:
                if process.HasField("successor") and word(process.successor, "step") == step:
                    return process.successor.pid
            return None
        os.kill(wait_until(there, f"a successor is {step}"), signal.SIGKILL)

    def test_it_crashes_before_it_is_ready(self):
        with self.daemon() as daemon:
            self.set_echo(daemon, hang_start="10s")
            killer = threading.Thread(target=self.kill_successor, args=(daemon, "starting"))
            killer.start()
            self.expect_failure(daemon, "killed by SIGKILL")
            killer.join()

    def test_it_crashes_before_it_has_settled(self):
        # Its own calls die with it; those of others, and those to come, do not.
        with self.daemon(reload={"settle": "5s"}) as daemon:
            with Busy(daemon) as busy:
                (host,) = daemon.hosts()
                killer = threading.Thread(target=self.kill_successor, args=(daemon, "settling"))
                killer.start()
                done = daemon.ctl("restart", "main")
                killer.join()
                self.assertEqual(done.returncode, FAILED)
                self.assertIn("killed by SIGKILL", done.stdout)
                self.assertEqual(daemon.hosts(), [host])
                count = len(busy.ok)
                wait_until(lambda: len(busy.ok) > count + 20, "calls are answered as before")
                self.assertEqual(daemon.slow(0, kind="unix").text(), "slept")
            self.assertLess(len(busy.failed), 5)

    def test_a_broken_host_program(self):
        with self.daemon() as daemon:
            programs = daemon.folder / "bin"
            programs.mkdir()
            for name in ("lastcalld", "lastcall-host"):
                shutil.copy(BIN / name, programs)
            daemon.signal(signal.SIGTERM)
            daemon.wait()
            daemon.program = programs / "lastcalld"
            daemon.start()
            daemon.ctl("wait", "serving", check=True)
            (programs / "new").write_text("#!/bin/false\n")
            (programs / "new").chmod(0o755)
            os.rename(programs / "new", programs / "lastcall-host")
            self.expect_failure(daemon, "~lastcall-host", "exit code 1")


class RetiredTest(ReloadTest):
    def test_a_long_call_lives_on(self):
        with self.daemon() as daemon:
            call = daemon.held()
            (old,) = daemon.hosts()
            self.assertEqual(daemon.ctl("restart", "main").returncode, 0)
            (retired,) = daemon.process_status().retired
            self.assertEqual((retired.incarnation, retired.pid, retired.calls_in_flight),
                             (1, old, 1))
            self.assertIn("retired", daemon.ctl("status").stdout)
            self.assertEqual(daemon.server().calls_in_flight, 1)
            self.assertEqual(Health(daemon.channel()).check(), "SERVING")
            self.assertEqual(call.finish(), "held")
            wait_until(lambda: old not in daemon.hosts(), "it goes with its last call", 5)

    def test_peers_that_say_nothing_do_not_hold_it(self):
        with self.daemon() as daemon:
            host, port = daemon.address().rsplit(":", 1)
            silent = [socket.create_connection((host, int(port))) for _ in range(3)]
            silent[1].send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")  # and no more
            wait_until(lambda: daemon.server().connections == 3, "they are there")
            daemon.ctl("restart", "main", check=True)
            began = time.monotonic()
            wait_until(lambda: not daemon.process_status().retired, "it is gone")
            self.assertLess(time.monotonic() - began, 1 + SLACK)
            for one in silent:
                one.close()

    def test_grace_bounds_it(self):
        with self.daemon(reload={"grace": "1s"}) as daemon:
            call = daemon.slow(60)
            daemon.await_calls(1)
            daemon.ctl("restart", "main", check=True)
            began = time.monotonic()
            self.assertEqual(call.code(), grpc.StatusCode.UNAVAILABLE)
            self.assertLess(time.monotonic() - began, 1 + SLACK)
            daemon.wait_log("retired: stopped in")
            daemon.wait_log('"method":"/lastcall.example.Echo/Slow"')  # its receipt

    def test_keep_bounds_them(self):
        with self.daemon(reload={"keep": 1}) as daemon:
            calls = []
            for _ in range(3):
                calls.append(daemon.slow(60))
                daemon.await_calls(len(calls) if len(calls) < 3 else 2)
                daemon.ctl("restart", "main", check=True)
                if len(calls) > 1:
                    self.assertEqual(calls[-2].code(), grpc.StatusCode.UNAVAILABLE)
            wait_until(lambda: len(daemon.process_status().retired) == 1, "one is kept")

    def test_shutdown_covers_it(self):
        with self.daemon(shutdown={"grace": "1s"}) as daemon:
            call = daemon.slow(60)
            daemon.await_calls(1)
            daemon.ctl("restart", "main", check=True)
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 3)
            self.assertEqual(call.code(), grpc.StatusCode.UNAVAILABLE)
            (cancelled,) = daemon.receipt()["cancelled"]
            self.assertEqual(cancelled["method"], "/lastcall.example.Echo/Slow")
            daemon.assert_nothing_left()

    def test_sigterm_at_each_step(self):
        for after_ms in (0, 5, 10, 20, 40, 80, 150, 299, 300, 310, 350):
            with self.subTest(after_ms=after_ms), self.daemon() as daemon:
                done = []
                asking = threading.Thread(
                    target=lambda: done.append(daemon.ctl("restart", "main").returncode))
                asking.start()
                time.sleep(after_ms / 1000)
                daemon.signal(signal.SIGTERM)
                self.assertEqual(daemon.wait(), 0, daemon.log())
                asking.join()
                self.assertIn(done[0], (0, FAILED, REFUSED, 69))
                daemon.assert_nothing_left()

    def test_refused_while_stopping(self):
        with self.daemon(shutdown={"delay": "30s"}) as daemon:
            daemon.signal(signal.SIGTERM)
            wait_until(lambda: daemon.current_stage() == "delay", "it stops")
            done = daemon.ctl("reload")
            self.assertEqual(done.returncode, REFUSED)
            self.assertIn("a shutdown is in progress", done.stderr)


class DrainTest(ReloadTest):
    def test_drain_sends_those_who_are_connected_away(self):
        with self.daemon() as daemon, self.nothing_lost(daemon):
            idle = daemon.channel()
            grpc.channel_ready_future(idle).result(10)
            states = []
            idle.subscribe(states.append)
            daemon.ctl("drain", "public", check=True)
            wait_until(lambda: grpc.ChannelConnectivity.IDLE in states, "an idle client leaves")
            self.assertEqual(daemon.slow(0).text(), "slept")
            self.assertEqual(daemon.ctl("restart", "main").returncode, 0)
            self.assertEqual(Health(daemon.channel()).check(), "NOT_SERVING")


if __name__ == "__main__":
    unittest.main()
