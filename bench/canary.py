#!/usr/bin/python3
"""What the canary is good for, and what it costs.

    PYTHONPATH=build/release/python:tests/process LASTCALL_BUILD=build/release \\
        bench/canary.py [late [CALLS]] [price [SECONDS [SERVERS…]]]

late   calls 1.0 to 1.24 s apart, 200 to each server, one after another, each server first in its turn: a
       hosted callback service, a bare synchronous server, a bare callback server, whose threads sleep by then
price  wake-ups (threads that went to sleep and were woken) and CPU a second of an idle host with so many
       servers of each kind, and of the bare servers; with another LASTCALL_BUILD, of a host of that
"""

import contextlib
import pathlib
import random
import statistics
import subprocess
import sys
import time

import grpc

import callback_echo_pb2
import callback_echo_pb2_grpc
import echo_pb2
import echo_pb2_grpc
from harness import BIN, Daemon


@contextlib.contextmanager
def bare(*args):
    server = subprocess.Popen([BIN / "bare_server", *args], stdout=subprocess.PIPE, text=True)
    try:
        yield server.pid, f"127.0.0.1:{server.stdout.readline().strip()}"
    finally:
        server.kill()
        server.wait()


def caller(address, echo=True):
    channel = grpc.insecure_channel(address)
    if echo:
        unary, request = echo_pb2_grpc.EchoStub(channel).Unary, echo_pb2.EchoRequest(text="x")
    else:
        unary = callback_echo_pb2_grpc.CallbackEchoStub(channel).Unary
        request = callback_echo_pb2.CallbackRequest(text="x")

    def call():
        began = time.monotonic()
        unary(request)
        return 1e3 * (time.monotonic() - began)
    return call


def quantile(figures, part):
    return sorted(figures)[min(len(figures) - 1, int(part * len(figures)))]


def late(calls=200):
    with bare() as (_, sync), bare("--callback") as (_, callback), \
            Daemon({"callbacks": {"plugins": ["callback_echo"]}}, log={"level": "info"}) as daemon:
        servers = [("hosted callback", caller(daemon.address("callbacks"), echo=False)),
                   ("bare sync", caller(sync)),
                   ("bare callback", caller(callback))]
        took = {name: [] for name, _ in servers}
        for _, call in servers:
            call()  # connects
        at = time.monotonic()
        for _ in range(calls):
            at += random.uniform(1.0, 1.24)
            time.sleep(max(0, at - time.monotonic()))
            for name, call in servers:
                took[name].append(call())
            servers.append(servers.pop(0))
    print(f"{'ms':15} {'median':>8} {'p90':>8} {'p99':>8} {'max':>8}   of {calls}")
    for name, figures in took.items():
        print(f"{name:15} {statistics.median(figures):8.2f} {quantile(figures, 0.9):8.2f} "
              f"{quantile(figures, 0.99):8.2f} {max(figures):8.2f}")
    p90 = {name: quantile(figures, 0.9) for name, figures in took.items()}
    print(f"p90 of hosted callback: {p90['hosted callback'] / p90['bare sync']:.2f} of bare sync, "
          f"{p90['bare callback'] / p90['hosted callback']:.1f} times better than bare callback",
          flush=True)


def sleeps(pid):
    """How often its threads went to sleep."""
    total = 0
    for thread in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            for line in (thread / "status").read_text().splitlines():
                if line.startswith("voluntary_ctxt_switches:"):
                    total += int(line.split()[1])
    return total


def measure(name, pid, seconds):
    time.sleep(3)  # what a start leaves to be done
    before, cpu = sleeps(pid), time.clock_gettime((~pid << 3) | 2)
    time.sleep(seconds)
    woken = (sleeps(pid) - before) / seconds
    cpu = 1e3 * (time.clock_gettime((~pid << 3) | 2) - cpu) / seconds
    print(f"{name:32} {woken:10.1f} {cpu:12.3f}", flush=True)


def price(seconds=20, *servers):
    print(f"{'a second, idle':32} {'wake-ups':>10} {'ms of CPU':>12}   in {seconds} s")
    with bare() as (pid, _):
        measure("bare sync", pid, seconds)
    with bare("--callback") as (pid, _):
        measure("bare callback", pid, seconds)
    for count in servers or (1,):
        for kind, plugin in (("sync", "echo"), ("callback", "callback_echo")):
            named = {f"server{i}": {"plugins": [plugin], "listen": ["127.0.0.1:0"]}
                     for i in range(count)}
            with Daemon(named, log={"level": "info"}) as daemon:
                measure(f"hosted {kind}, {count} server{'s' * (count > 1)}", daemon.process_pid(),
                        seconds)


def main(args):
    measures = {"late": late, "price": price}
    chosen = [i for i, arg in enumerate(args) if arg in measures]
    if not chosen:
        late()
        price()
    for begin, end in zip(chosen, [*chosen[1:], len(args)]):
        measures[args[begin]](*map(int, args[begin + 1:end]))


if __name__ == "__main__":
    main(sys.argv[1:])
