#!/usr/bin/python3
"""What a trivial callback service takes beside heavy work, and whether that matters where the work is.

    PYTHONPATH=build/release/python:tests/process LASTCALL_BUILD=build/release \\
        bench/offload.py [--rounds 100] [--calls 2000] [--ms 1000] [--callers 4] [--json FILE]

a  the work is on the plugin's offload, in the process of the trivial service
b  the same, in a process of its own, of the same daemon
c  the work is in the handler, in the process of the trivial service: the median of two calls, in each tenth
   round

One daemon, one connection to the trivial service, for all. Each round has all of them, a and b in turn the
first, and the service beside nothing. The work is so many callers that call again at once, for --ms
each: of a processor ("cpu"), and asleep ("sleep"). The p99 of a round's calls in a is divided by that in
b; the median of these ratios has the bounds within which it lies with 95 %, by order. "b again" is b
measured twice, divided by itself: what the machine's noise makes of nothing.
"""

import argparse
import contextlib
import json
import os
import statistics
import threading
import time

import grpc

import callback_echo_pb2
import callback_echo_pb2_grpc
from harness import BUILD, Daemon
from hosting import median_within

PLUGIN = str(BUILD / "tests" / "plugins" / "heavy.so")
WANTED = 1.2  # a / b at most


def request(ms, cpu, in_handler):
    """A WorkRequest: three varints."""
    low, high = ms & 0x7f | 0x80, ms >> 7
    return bytes([8, low, high, 16, cpu, 24, in_handler])


@contextlib.contextmanager
def load(channel, callers, work):
    """So many calls under way, always, from here on."""
    call = channel.unary_unary("/lastcall.bench.Heavy/Work")
    lock = threading.Lock()
    under_way = set()
    over = False

    def begin():
        with lock:
            if over:
                return
            future = call.future(work)
            under_way.add(future)
        future.add_done_callback(end)

    def end(future):
        with lock:
            under_way.discard(future)
        begin()

    for _ in range(callers):
        begin()
    try:
        yield
    finally:
        with lock:
            over = True
            last = list(under_way)
        for future in last:
            future.cancel()


def p99(figures):
    return sorted(figures)[int(0.99 * len(figures))]


class Bench:
    def __init__(self, daemon, options):
        self.daemon = daemon
        self.options = options
        self.channels = {name: daemon.channel(name) for name in ("near", "far")}
        self.unary = callback_echo_pb2_grpc.CallbackEchoStub(self.channels["near"]).Unary

    def offloaded(self, server):
        (status,) = [each for each in self.daemon.status().servers if each.name == server]
        return sum(each.busy for each in status.offloads)

    def await_quiet(self):
        while any(self.offloaded(name) for name in self.channels):
            time.sleep(0.01)
        self.took(3)

    def took(self, calls):
        figures = []
        for _ in range(calls):
            began = time.monotonic()
            self.unary(callback_echo_pb2.CallbackRequest(text="x"))
            figures.append(1e3 * (time.monotonic() - began))
        return figures

    def beside(self, name, cpu):
        """The calls beside the work, in ms."""
        server = "far" if name.startswith("b") else "near"
        with load(self.channels[server], self.options.callers,
                  request(self.options.ms, cpu, name == "c")):
            if name == "c":
                time.sleep(0.2)
                figures = self.took(2)
            else:
                while self.offloaded(server) < self.options.callers:
                    time.sleep(0.01)
                figures = self.took(self.options.calls)
        self.await_quiet()
        return figures

    def round(self, number, cpu):
        names = ["a", "b", "b again"]
        names = names[number % 3:] + names[:number % 3]
        figures = {name: p99(self.beside(name, cpu)) for name in names}
        figures["alone"] = p99(self.took(self.options.calls))
        if number % 10 == 0:
            figures["c"] = statistics.median(self.beside("c", cpu))
        return figures


def tell(kind, rounds):
    print(f"\n{kind}: p99 of the trivial service in ms, median of {len(rounds)} rounds")
    for name in ("alone", "a", "b", "b again", "c"):
        figures = [each[name] for each in rounds if name in each]
        print(f"  {name:8} {statistics.median(figures):9.2f}")
    ratios = {f"{one} / {other}": median_within([each[one] / each[other] for each in rounds])
              for one, other in (("a", "b"), ("b again", "b"))}
    for name, (middle, low, high) in ratios.items():
        print(f"  {name}: {middle:.2f} ({low:.2f} to {high:.2f})")
    met = "met" if ratios["a / b"][0] <= WANTED else "NOT met"
    print(f"  wanted: a / b at most {WANTED}: {met}", flush=True)
    return ratios


def main():
    parser = argparse.ArgumentParser()
    for name, default in (("rounds", 100), ("calls", 2000), ("ms", 1000), ("callers", 4)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json")
    options = parser.parse_args()
    limits = {"heavy": {"threads": options.callers}}
    servers = {"near": {"plugins": ["callback_echo", PLUGIN], "offload": limits},
               "far": {"plugins": [PLUGIN], "offload": limits, "process": "far"}}
    found = {}
    with Daemon(servers, log={"level": "error"}) as daemon:
        bench = Bench(daemon, options)
        bench.took(10)
        for kind in ("cpu", "sleep"):
            before = os.getloadavg()[0]
            rounds = [bench.round(number, kind == "cpu") for number in range(options.rounds)]
            found[kind] = {"rounds": rounds, "ratios": tell(kind, rounds),
                           "load": (before, os.getloadavg()[0])}
            print(f"  load of the machine: {before:.1f} before, {os.getloadavg()[0]:.1f} after, "
                  f"{os.cpu_count()} cores")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(found, file)


if __name__ == "__main__":
    main()
