"""The programs of examples/waiting: real processes, each ended by the same SIGTERM."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import unittest

BIN = pathlib.Path(os.environ["LASTCALL_BUILD"]) / "bin"
# How much later than planned a busy machine may be.
SLACK = 1.5 if not os.environ.get("LASTCALL_SANITIZE") else 5.0


class Example:
    """A running example, from its `ready` line on."""

    def __init__(self, name, *arguments, stderr=subprocess.PIPE):
        self.process = subprocess.Popen(
            [BIN / name, *arguments], stdout=subprocess.PIPE, stderr=stderr, text=True
        )
        self.lines = []
        self.ready = self.until("ready")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        if self.process.stderr is not None:
            self.process.stderr.close()

    def until(self, start):
        """The first line that begins so, among those to come where none has."""
        for line in self.lines:
            if line.startswith(start):
                return line
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.startswith(start):
                return self.lines[-1]
        raise AssertionError(f"no line begins with {start!r}: {self.lines}")

    def connect(self):
        return socket.create_connection(("127.0.0.1", int(self.ready.split()[-1])), timeout=10)

    def terminate(self):
        self.asked = time.monotonic()
        self.process.send_signal(signal.SIGTERM)

    def end(self):
        """Exit code, and how long after the signal."""
        self.lines += self.process.stdout.read().splitlines()
        self.errors = self.process.stderr.read() if self.process.stderr is not None else ""
        return self.process.wait(), time.monotonic() - self.asked


def echo(client, text):
    client.sendall(text)
    return client.recv(1024)


class WorkerPoolTest(unittest.TestCase):
    def test_jobs_that_began_finish_and_no_new_one_begins(self):
        with Example("worker_pool", "300") as pool:
            for job in (1, 2, 3, 4):  # in whatever order its threads run
                pool.until(f"job {job} began")
            pool.terminate()
            code, took = pool.end()
            self.assertEqual(code, 0, pool.errors)
            self.assertLess(took, 0.3 + SLACK)
            began = {line.split()[1] for line in pool.lines if line.endswith(" began")}
            finished = {line.split()[1] for line in pool.lines if line.endswith(" finished")}
            self.assertGreaterEqual(began, {"1", "2", "3", "4"})
            self.assertEqual(began, finished)
            receipt = json.loads(pool.lines[-1])
            self.assertEqual(receipt["requests"][0]["cause"]["signal"], "SIGTERM")
            self.assertEqual(receipt["requests"][0]["cause"]["pid"], os.getpid())
            self.assertEqual(receipt["calls"]["cancelled"], 0)

    def test_jobs_that_take_longer_than_grace_give_up(self):
        with Example("worker_pool", "60000") as pool:
            for job in (1, 2, 3, 4):  # in whatever order its threads run
                pool.until(f"job {job} began")
            pool.terminate()
            code, took = pool.end()
            self.assertEqual(code, 3, pool.errors)
            self.assertGreaterEqual(took, 2)
            self.assertLess(took, 2 + SLACK)
            self.assertEqual(sum(line.endswith(" gave up") for line in pool.lines), 4)
            receipt = json.loads(pool.lines[-1])
            self.assertEqual(
                sorted(call["method"] for call in receipt["cancelled"]),
                ["job 1", "job 2", "job 3", "job 4"],
            )

    def test_the_second_signal_skips_the_grace(self):
        with Example("worker_pool", "60000") as pool:
            for job in (1, 2, 3, 4):  # in whatever order its threads run
                pool.until(f"job {job} began")
            pool.terminate()
            time.sleep(1.2)  # a repeat counts from 500 ms on
            pool.process.send_signal(signal.SIGTERM)
            code, took = pool.end()
            self.assertEqual(code, 3, pool.errors)
            self.assertLess(took, 1.9)


class EchoTest(unittest.TestCase):
    """What the epoll loop and the coroutines have in common."""

    PROGRAMS = ("epoll_echo", "coroutine_echo")

    def test_idle_it_stops_at_once(self):
        for name in self.PROGRAMS:
            with self.subTest(name), Example(name) as server:
                with server.connect() as client:
                    self.assertEqual(echo(client, b"hello"), b"hello")
                server.terminate()
                code, took = server.end()
                self.assertEqual(code, 0, server.errors)
                self.assertLess(took, SLACK)

    def test_who_is_there_goes_on_and_nobody_new_comes_in(self):
        for name in self.PROGRAMS:
            with self.subTest(name), Example(name) as server, server.connect() as client:
                self.assertEqual(echo(client, b"before"), b"before")
                server.terminate()
                self.assert_refused(server)
                self.assertEqual(echo(client, b"in grace"), b"in grace")
                client.close()
                code, took = server.end()
                self.assertEqual(code, 0, server.errors)
                self.assertLess(took, 2 + SLACK)

    def test_who_stays_is_cut_off_at_the_end_of_grace(self):
        for name in self.PROGRAMS:
            with self.subTest(name), Example(name) as server, server.connect() as client:
                self.assertEqual(echo(client, b"hello"), b"hello")
                server.terminate()
                self.assertEqual(client.recv(1), b"")
                self.assertGreaterEqual(time.monotonic() - server.asked, 1.9)
                code, took = server.end()
                self.assertEqual(code, 3, server.errors)
                self.assertLess(took, 2 + SLACK)

    def assert_refused(self, server):
        deadline = server.asked + SLACK
        while time.monotonic() < deadline:
            try:
                server.connect().close()
            except (ConnectionRefusedError, ConnectionResetError):
                return
        self.fail("it still accepts")


class AsioTimerTest(unittest.TestCase):
    def test_it_ticks_through_the_delay_and_closes_its_file(self):
        with Example("asio_timer") as program:
            program.until("tick")
            program.terminate()
            code, took = program.end()
            self.assertEqual(code, 0, program.errors)
            self.assertGreaterEqual(took, 0.45)
            self.assertLess(took, 0.5 + SLACK)
            delay = program.lines.index("delay: still ticking")
            grace = program.lines.index("grace: no more ticks")
            self.assertIn("tick", program.lines[delay:grace])
            self.assertEqual(program.lines[grace + 1 :], ["cancel: the file is closed"])


if __name__ == "__main__":
    unittest.main()
