#!/usr/bin/python3
"""Calls lost while servers are replaced under busy callers with default settings.

    PYTHONPATH=build/release/python:tests/process LASTCALL_BUILD=build/release \\
        bench/loss.py [--changes 100] [--callers 16] [--json] [--shared] [--starve | --starve-threads] \\
        [SUBJECT…]

Subjects, each under unary calls of 0 and 3 ms, streams of 20 messages, an open loop, and sparse
calls of twice as many callers, who do not look at their connections in between:
  restart   lastcallctl restart: a new incarnation of an unchanged process   (tcp, tls, unix)
  plugin    lastcallctl reload after the plugin's file was replaced          (tcp, tls, unix)
  itself    lastcallctl reload after lastcalld's own file was replaced, which (tcp, tls, unix)
            it then executes in place
  bare      a gRPC C++ server replaced on the same port by Shutdown()        (tcp)
  python    Debian's Python grpcio replaced on the same port by stop(grace)  (tcp)
  age       a gRPC C++ server that nobody replaces, but that sends its       (tcp)
            connections away when they are half a second old: what clients lose by themselves

With --shared all callers are on one connection, with unary calls and with streams of the server's.

With --starve (lastcalld's subjects only) six processes compute on one core, where the clients, the
hosts and the supervisor have to live by turns, a change each; at every tenth change the clients are
stopped for 2 s in the middle of it, and the next changes come meanwhile.

With --starve-threads (as root) the hosts' threads fare differently: ten times a second each is thrown
a coin for, to live on the idle time of that core or on the other one. So one may be held up for long
with a call in hand, while the next decides that nobody has one.

A connection drain is one connection that meets one change. When none of n is lost, 3/n bounds the
loss of one drain with a confidence of 95 %.
"""

import argparse
import collections
import contextlib
import functools
import json
import os
import pathlib
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from harness import BIN, PLUGINS, Daemon
from tls_test import Authority

LOADS = [("unary", 0), ("unary", 3), ("stream", 1), ("open", 0), ("sparse", 0)]
SHARED_LOADS = [("unary", 0), ("unary", 3), ("replies", 1)]
SPARSE = 2
AGE_MS = 500


class Lastcall:
    """A daemon whose process is replaced."""

    def __init__(self, transport, change):
        self.transport, self.change, self.builds = transport, change, 0
        self.more = []  # for the client's command line

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        server = {}
        if self.transport == "tls":
            folder = self.stack.enter_context(tempfile.TemporaryDirectory())
            authority = Authority(folder, "authority")
            certificate, key = authority.issue("server")
            server["tls"] = {"certificate": str(certificate), "key": str(key)}
            self.more = ["--ca", authority.certificate]
        self.daemon = Daemon(servers={"public": server}, reload={"settle": "100ms", "keep": 20},
                             log={"level": "info"})
        self.plugins = self.daemon.folder / "plugins"
        self.plugins.mkdir()
        shutil.copy(PLUGINS / "echo.so", self.plugins)
        if self.change == "itself":
            programs = self.daemon.folder / "bin"
            programs.mkdir()
            for name in ("lastcalld", "lastcall-host"):
                shutil.copy(BIN / name, programs)
            self.daemon.program = programs / "lastcalld"
        text = self.daemon.config.read_text().replace(str(PLUGINS), str(self.plugins))
        self.daemon.config.write_text(text)
        self.stack.enter_context(self.daemon)
        return self

    def __exit__(self, *_):
        self.stack.close()

    def address(self):
        return self.daemon.address(kind="unix" if self.transport == "unix" else "tcp")

    def replace(self):
        if self.change == "restart":
            self.daemon.ctl("restart", "main", check=True)
            return
        self.builds += 1
        changed = self.daemon.program if self.change == "itself" else self.plugins / "echo.so"
        new = changed.parent / "new"
        shutil.copy(changed, new)
        with new.open("ab") as file:
            file.write(str(self.builds).encode())
        new.rename(changed)
        self.daemon.ctl("reload", check=True)


class Bare:
    """A server that is replaced by another one on the same port, which is up before the old goes."""

    more = []

    arguments = []

    def __init__(self, *command):
        self.command = list(map(str, command))

    def start(self, port):
        server = subprocess.Popen([*self.command, f"127.0.0.1:{port}", *self.arguments],
                                  stdout=subprocess.PIPE, text=True)
        return server, int(server.stdout.readline())

    def __enter__(self):
        self.server, self.port = self.start(0)
        return self

    def __exit__(self, *_):
        self.server.kill()
        self.server.wait()

    def address(self):
        return f"127.0.0.1:{self.port}"

    def replace(self):
        old = self.server
        self.server, _ = self.start(self.port)
        old.terminate()
        old.wait()


class Aging(Bare):
    """A server whose connections are sent away one by one, by their age."""

    arguments = [str(AGE_MS)]

    def replace(self):
        time.sleep(AGE_MS / 1000)


class Starved:
    """Who has to share one core with six others who never wait: by turns."""

    def __init__(self, client, daemon):
        self.client, self.daemon, self.turns = client, daemon, 0
        self.all = sorted(os.sched_getaffinity(0))

    def __enter__(self):
        self.burners = [subprocess.Popen(["taskset", "-c", str(self.all[-1]), sys.executable,
                                          "-c", "while True: pass"]) for _ in range(6)]
        return self

    def __exit__(self, *_):
        for burner in self.burners:
            burner.kill()
            burner.wait()

    def turn(self):
        kinds = [[self.client.pid], self.daemon.hosts(), [self.daemon.pid]]
        for number, pids in enumerate(kinds):
            cores = self.all[-1:] if number == self.turns % len(kinds) else self.all
            for pid in pids:  # one that goes meanwhile needs none
                subprocess.run(["taskset", "-acp", ",".join(map(str, cores)), str(pid)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.turns += 1
        if self.turns % 10 == 5:
            threading.Timer(random.uniform(0, 0.4), self.stop).start()

    def stop(self):
        self.client.send_signal(signal.SIGSTOP)
        time.sleep(2)
        self.client.send_signal(signal.SIGCONT)


class StarvedThreads(Starved):
    """Some threads of a host, and others are not."""

    def __enter__(self):
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.starve)
        self.thread.start()
        return super().__enter__()

    def __exit__(self, *args):
        self.over.set()
        self.thread.join()
        super().__exit__(*args)

    def turn(self):
        """They come often enough by themselves."""

    def starve(self):
        while not self.over.wait(0.1):
            for tasks in (pathlib.Path(f"/proc/{pid}/task") for pid in self.daemon.hosts()):
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it goes meanwhile
                    for task in tasks.iterdir():
                        self.place(int(task.name), random.random() < 0.5)

    def place(self, task, starved):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setscheduler(task, os.SCHED_IDLE if starved else os.SCHED_OTHER,
                                  os.sched_param(0))
            os.sched_setaffinity(task, self.all[-1:] if starved else self.all[:1])


def run(subject, load, call_ms, callers, changes, shared, starve=None):
    """One row of the table."""
    callers *= SPARSE if load == "sparse" else 1
    connections = 1 if shared else callers
    with subject:
        client = subprocess.Popen(
            list(map(str, (BIN / "loss_client", subject.address(), callers, load, call_ms,
                           "--connections", connections, *subject.more))),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        client.stdout.readline()  # all are connected
        time.sleep(1)  # of calls that meet no change
        took = []
        with starve(client, subject.daemon) if starve else contextlib.nullcontext() as starved:
            for _ in range(changes):
                if starved:
                    starved.turn()
                print("begin", file=client.stdin, flush=True)
                began = time.monotonic()
                subject.replace()
                took.append((time.monotonic() - began) * 1000)
                print("end", file=client.stdin, flush=True)
        result = json.loads(client.communicate()[0])
    result["drains"] = connections * changes
    result["change_ms"] = statistics.median(took)
    return result


def add_starve(parser):
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--starve", action="store_const", const=Starved)
    group.add_argument("--starve-threads", action="store_const", const=StarvedThreads, dest="starve")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--shared", action="store_true")
    add_starve(parser)
    parser.add_argument("subjects", nargs="*", default=["restart", "plugin", "itself", "bare", "python"])
    args = parser.parse_args()
    here = pathlib.Path(__file__).parent
    subjects = {
        **{change: [(transport, functools.partial(Lastcall, transport, change))
                    for transport in ("tcp", "tls", "unix")]
           for change in ("restart", "plugin", "itself")},
        "bare": [("tcp", lambda: Bare(BIN / "bare_server"))],
        "age": [("tcp", lambda: Aging(BIN / "bare_server"))],
        "python": [("tcp", lambda: Bare("/usr/bin/python3", here / "python_server.py"))],
    }
    if not args.json:
        print(f"{'subject':8} {'over':5} {'load':9} {'calls':>7} {'drains':>6} {'lost':>5} "
              f"{'p99 met':>8} {'others':>8} {'change':>8}")
    total = collections.Counter()
    for name in args.subjects:
        for transport, make in subjects[name]:
            for load, call_ms in SHARED_LOADS if args.shared else LOADS:
                row = run(make(), load, call_ms, args.callers, args.changes, args.shared,
                          args.starve)
                lost = sum(row["lost"].values())
                total[name, transport, "drains"] += row["drains"]
                total[name, transport, "lost"] += lost
                if args.json:
                    print(json.dumps({"subject": name, "over": transport, "load": load,
                                      "call_ms": call_ms, **row}))
                    continue
                print(f"{name:8} {transport:5} {load + ' ' + str(call_ms):9} {row['calls']:7} "
                      f"{row['drains']:6} {lost:5} {row['met']['p99_ms']:6.1f}ms "
                      f"{row['others']['p99_ms']:6.1f}ms {row['change_ms']:6.0f}ms", flush=True)
                for status, count in row["lost"].items():
                    print(f"           {count} × {status}")
    if not args.json:
        for (name, transport, kind), drains in list(total.items()):
            if kind == "drains":
                print(f"{name} over {transport}: {total[name, transport, 'lost']} calls lost in "
                      f"{drains} connection drains")


if __name__ == "__main__":
    sys.exit(main())
