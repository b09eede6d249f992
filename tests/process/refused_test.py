"""Who is refused and who waits: new connections where nobody will serve them any more."""

import errno
import os
import signal
import socket
import threading
import unittest

import grpc

import echo_pb2_grpc
from clients import Busy, Call, wait_until
from echo_pb2 import EchoRequest
from harness import Daemon


def knock(address):
    """What becomes of a new connection: None, it is there, or the errno that refuses it."""
    if address.startswith("unix:"):
        end, name = socket.socket(socket.AF_UNIX), address.removeprefix("unix:")
    else:
        host, _, port = address.rpartition(":")
        end, name = socket.socket(socket.AF_INET), (host, int(port))
    with end:
        end.settimeout(20)  # one that is dropped is tried again by the kernel, a second later
        try:
            end.connect(name)
        except OSError as error:
            return error.errno
        return None


REFUSED = {"tcp": {errno.ECONNREFUSED}, "unix": {errno.ECONNREFUSED, errno.ENOENT}}


class RefusedTest(unittest.TestCase):
    def await_refused(self, address):
        """Not by the end of a process, which would be a reset of who was let in."""
        kind = "unix" if address.startswith("unix:") else "tcp"
        wait_until(lambda: knock(address) in REFUSED[kind], f"{address} refuses", 20)

    def addresses(self, daemon, name="public"):
        return [daemon.address(name, kind) for kind in ("tcp", "unix")]


class StopTest(RefusedTest):
    def test_from_grace_on_while_calls_go_on(self):
        with Daemon(shutdown={"grace": "60s"}) as daemon:
            tcp, unix = self.addresses(daemon)
            held = daemon.held()
            daemon.signal(signal.SIGTERM)
            self.await_refused(tcp)
            self.await_refused(unix)
            self.assertFalse(held.over())
            self.assertEqual(held.finish(), "held")
            self.assertEqual(daemon.wait(), 0)

    def test_in_delay_they_are_served(self):
        with Daemon(shutdown={"delay": "60s"}) as daemon:
            fresh = daemon.echo()
            daemon.signal(signal.SIGTERM)
            daemon.wait_log("stage delay")
            self.assertEqual(fresh.Unary(EchoRequest(text="new"), timeout=20).text, "new")
            daemon.signal(signal.SIGQUIT)
            daemon.wait()

    def test_who_settles_serves_the_delay_whoever_is_quiet(self):
        with Daemon(shutdown={"delay": "60s", "quiet": "300ms"}, reload={"settle": "60s"}) as daemon:
            addresses = self.addresses(daemon)
            daemon.ctl("restart", "main", "--no-wait", check=True)
            daemon.wait_log("is ready (incarnation 2)")
            with Busy(daemon) as busy:  # with the new one, which is not quiet
                old = daemon.process_status().pid
                daemon.signal(signal.SIGTERM)
                wait_until(lambda: not os.path.exists(f"/proc/{old}"), "the old one has ended")
                for address in addresses:
                    self.assertIsNone(knock(address))
                self.assertEqual(daemon.current_stage(), "delay")
            self.assertEqual(busy.failed, [])
            self.assertEqual(daemon.wait(), 0)

    def test_a_stop_while_another_address_settles(self):
        with Daemon(shutdown={"delay": "60s"}, reload={"settle": "60s"}) as daemon:
            before, unix = self.addresses(daemon)
            path = f"unix:{daemon.folder}/another.sock"
            daemon.write_config({"public": {"listen": [unix, path]}},
                                {"shutdown": {"delay": "60s"}, "reload": {"settle": "60s"}})
            daemon.ctl("reload", "--no-wait", check=True)
            daemon.wait_log("is ready (incarnation 2)")
            daemon.signal(signal.SIGTERM)
            daemon.wait_log("stage delay")
            for address in (before, unix, path):
                with grpc.insecure_channel(address) as channel:
                    echo = echo_pb2_grpc.EchoStub(channel)
                    self.assertEqual(echo.Unary(EchoRequest(text="new"), timeout=20).text, "new")
            daemon.signal(signal.SIGQUIT)
            daemon.wait()

    def test_a_host_that_hangs_does_not_hold_it_up(self):
        with Daemon(shutdown={"grace": "60s", "cancel": "1s"}) as daemon:
            addresses, host = self.addresses(daemon), daemon.process_pid()
            os.kill(host, signal.SIGSTOP)
            daemon.signal(signal.SIGTERM)
            for address in addresses:
                self.await_refused(address)
            os.kill(host, signal.SIGCONT)
            self.assertEqual(daemon.wait(), 0)

    def test_nor_does_who_has_a_copy_of_the_socket(self):
        with Daemon(shutdown={"grace": "60s"}) as daemon:
            addresses, held = self.addresses(daemon), daemon.held()
            pidfd = os.pidfd_open(daemon.process_pid())
            self.addCleanup(os.close, pidfd)
            copies = self.copies_of_listening_sockets(daemon.process_pid(), pidfd)
            self.assertEqual(len(copies), 2)
            daemon.signal(signal.SIGTERM)
            for address in addresses:
                self.await_refused(address)
            held.finish()
            self.assertEqual(daemon.wait(), 0)

    def copies_of_listening_sockets(self, pid, pidfd):
        """As a process that a plugin forked would have them."""
        import ctypes
        libc, copies = ctypes.CDLL(None, use_errno=True), []
        pidfd_getfd = 438
        for fd in os.listdir(f"/proc/{pid}/fd"):
            if not os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:"):
                continue
            copy = libc.syscall(pidfd_getfd, pidfd, int(fd), 0)
            if copy < 0:
                raise unittest.SkipTest("descriptors of others cannot be had here")
            one = socket.socket(fileno=copy)
            if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                copies.append(one)
                self.addCleanup(one.close)
            else:
                one.close()
        return copies


class ReloadTest(RefusedTest):
    """Each daemon has two servers, and a reload has the first alone."""

    def daemon(self, second, settle="100ms"):
        return Daemon(servers={"public": {}, "second": second}, reload={"settle": settle})

    def reload(self, daemon, **servers):
        daemon.write_config({"public": {}, **servers}, {"reload": {"settle": "100ms"}})
        daemon.ctl("reload", check=True)

    def test_a_server_that_a_reload_removes_with_its_process(self):
        with self.daemon({"process": "other"}) as daemon:
            addresses = self.addresses(daemon, "second")
            held = daemon.held(name="second")
            self.reload(daemon)
            for address in addresses:
                self.await_refused(address)
            self.assertFalse(held.over())
            self.assertEqual(held.finish(), "held")
            self.assertIsNone(knock(daemon.address()))

    def test_nor_does_a_host_that_hangs_hold_that_up(self):
        with self.daemon({"process": "other"}) as daemon:
            addresses, host = self.addresses(daemon, "second"), daemon.process_pid("other")
            os.kill(host, signal.SIGSTOP)
            self.reload(daemon)
            for address in addresses:
                self.await_refused(address)
            self.assertTrue(daemon.process_status("other").retired)

    def test_a_server_that_leaves_a_process_that_is_replaced(self):
        with self.daemon({}) as daemon, Busy(daemon) as busy:
            addresses = self.addresses(daemon, "second")
            held = daemon.held(name="second")
            self.reload(daemon)
            for address in addresses:
                self.await_refused(address)
            self.assertFalse(held.over())
            self.assertEqual(held.finish(), "held")
        self.assertEqual(busy.failed, [])

    def test_who_came_while_its_successor_settled_is_served(self):
        # Long enough for a client on a busy machine to come within it.
        with self.daemon({}, settle="5s") as daemon:
            echoes = [daemon.echo(name="second", kind=kind) for kind in ("tcp", "unix")]
            reload = threading.Thread(target=self.reload, args=(daemon,))
            reload.start()
            daemon.wait_log("is ready (incarnation 2)")
            waiting = [Call(echo.Unary, EchoRequest(text="hi")) for echo in echoes]
            for call in waiting:
                self.assertEqual(call.text(), "hi")
            reload.join()

    def test_what_was_removed_can_come_back_at_once(self):
        with self.daemon({"process": "other"}) as daemon:
            again = {"process": "other", "listen": self.addresses(daemon, "second")}
            for _ in range(3):
                self.reload(daemon)
                self.reload(daemon, second=again)
                for kind in ("tcp", "unix"):
                    self.assertEqual(daemon.slow(0, name="second", kind=kind).text(), "slept")

    def test_a_restart_refuses_nobody(self):
        with self.daemon({}) as daemon, Busy(daemon) as busy:
            addresses = self.addresses(daemon)
            for _ in range(3):
                daemon.ctl("restart", "main", check=True)
                for address in addresses:
                    self.assertIsNone(knock(address))
        self.assertEqual(busy.failed, [])


if __name__ == "__main__":
    unittest.main()
