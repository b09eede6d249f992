#!/usr/bin/python3
"""What hosting costs: the same small service bare, with an interceptor that does nothing, and hosted.

    PYTHONPATH=build/release/python:tests/process LASTCALL_BUILD=build/release \\
        bench/hosting.py [--rounds 40] [--turns 4] [--calls 2000] [--callers 8] [--starts 5] [--python]
                         [--json FILE]

Each round starts every server anew (two processes of one program differ by some percent as long as they
live), warms them up, and calls each in so many turns, in an order by chance, from one client with a channel to
each. CPU is the server's own clock, divided by the calls. Ratios are of the two figures of one round; their median
has the bounds within which it lies with 95 % (by order, whatever the distribution). "again" is a second
process of the same program: what the machine's noise makes of nothing.
Started is from exec until an HTTP/2 hello is answered, which for a hosted service is three processes later.
With --python: Debian's Python grpcio, sync and asyncio, as well.
"""

import argparse
import contextlib
import json
import math
import pathlib
import random
import socket
import statistics
import subprocess
import sys
import time

from harness import BIN, BUILD, Daemon
from idle import ACKNOWLEDGED, PREFACE, SETTINGS, cpu_s, frame, private_kib

HERE = pathlib.Path(__file__).parent
PLUGIN = str(BUILD / "tests" / "plugins" / "bare_echo.so")
PAIRS = [(other, "bare {}") for other in ("bare {} again", "interceptor {}", "hosted {}")]
PAIRS += [("hosted {}", "interceptor {}")]


def median_within(figures):
    """The median, and the bounds of its confidence of 95 %."""
    ordered = sorted(figures)
    count = len(ordered)
    below = max(0, math.floor((count - 1.96 * math.sqrt(count)) / 2))
    return statistics.median(ordered), ordered[below], ordered[count - 1 - below]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def hosted(kind, port=0):
    return Daemon({"public": {"listen": [f"127.0.0.1:{port}"], "plugins": [PLUGIN], "reflection": False,
                              "config": {"bare_echo": {"callback": kind == "callback"}}}},
                  log={"level": "info"})


def commands(python):
    for kind in ("sync", "callback"):
        flags = ["--callback"] if kind == "callback" else []
        yield f"bare {kind}", [BIN / "bare_server", *flags]
        yield f"bare {kind} again", [BIN / "bare_server", *flags]
        yield f"interceptor {kind}", [BIN / "bare_server", *flags, "--interceptor"]
    if python:
        yield "python sync", [sys.executable, HERE / "python_server.py"]
        yield "python asyncio", [sys.executable, HERE / "python_server.py", "--aio"]


@contextlib.contextmanager
def running(command, address="127.0.0.1:0"):
    server = subprocess.Popen([*command, address], stdout=subprocess.PIPE, text=True)
    try:
        yield server
    finally:
        server.kill()
        server.wait()


def greeted(port):
    """Returns when an HTTP/2 hello to the port is answered, be it refused until then."""
    while True:
        with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", port)) as peer:
            peer.sendall(PREFACE + frame(SETTINGS) + frame(SETTINGS, ACKNOWLEDGED))
            if peer.recv(1):
                return
        time.sleep(0.0005)


def started(name, command):
    port = free_port()
    began = time.monotonic()
    if command:
        with running(command, f"127.0.0.1:{port}"):
            greeted(port)
            return time.monotonic() - began
    daemon = hosted(name.rpartition(" ")[2], port)
    daemon.wait_serving = False
    began = time.monotonic()
    with daemon:
        greeted(port)
        return time.monotonic() - began


class Callers:
    def __init__(self, addresses):
        self.process = subprocess.Popen([BIN / "call_client", *addresses], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == "connected\n"

    def call(self, server, calls, callers):
        self.process.stdin.write(f"{server} {calls} {callers}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def measure(args, stack):
    """One round: by server its figures."""
    servers = {}
    for name, command in commands(args.python):
        process = stack.enter_context(running(command))
        servers[name] = process.pid, f"127.0.0.1:{process.stdout.readline().strip()}"
    for kind in ("sync", "callback"):
        daemon = stack.enter_context(hosted(kind))
        servers[f"hosted {kind}"] = daemon.process_pid(), daemon.address()
    callers = Callers([address for _, address in servers.values()])
    order = list(enumerate(servers.items()))
    turns = {name: [] for name in servers}
    for turn in range(-1, args.turns):  # the first warms up
        random.shuffle(order)
        for index, (name, (pid, _)) in order:
            cpu = cpu_s(pid)
            figures = callers.call(index, args.calls, args.callers)
            figures["cpu_us"] = 1e6 * (cpu_s(pid) - cpu) / args.calls
            figures["calls_per_s"] = args.calls / figures.pop("seconds")
            figures["mib"] = private_kib(pid) / 1024
            if turn >= 0:
                turns[name].append(figures)
    callers.process.stdin.close()
    callers.process.wait()
    return {name: {key: statistics.mean(each[key] for each in figures) for key in figures[0]}
            for name, figures in turns.items()}


def table(rounds, starts):
    result = {}
    print(f"{'':22} {'CPU us/call':>11} {'calls/s':>8} {'p50 us':>7} {'p99 us':>7} "
          f"{'MiB':>6} {'started ms':>10}")
    for name, figures in rounds.items():
        row = {key: statistics.median(each[key] for each in figures) for key in figures[0]}
        row["started_ms"] = 1e3 * statistics.median(starts[name])
        print(f"{name:22} {row['cpu_us']:11.1f} {row['calls_per_s']:8.0f} {row['p50_us']:7.0f} "
              f"{row['p99_us']:7.0f} {row['mib']:6.1f} {row['started_ms']:10.1f}")
        result[name] = row
    return result


def ratios(rounds):
    result = {}
    print(f"\n{'CPU per call, paired':45} {'median':>7} {'95 % within':>16}   "
          f"of {len(next(iter(rounds.values())))} rounds")
    for kind in ("sync", "callback"):
        for one, other in PAIRS:
            one, other = one.format(kind), other.format(kind)
            median, low, high = median_within([a["cpu_us"] / b["cpu_us"]
                                               for a, b in zip(rounds[one], rounds[other])])
            print(f"{one + ' / ' + other:45} {median:7.3f} {low:7.3f} to {high:.3f}")
            result[f"{one} / {other}"] = {"median": median, "low": low, "high": high}
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--python", action="store_true")
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    of = dict(commands(args.python)) | {"hosted sync": None, "hosted callback": None}
    starts = {name: [] for name in of}
    for _ in range(args.starts):
        for name, command in of.items():
            starts[name].append(started(name, command))
    rounds = {name: [] for name in of}
    for _ in range(args.rounds):
        with contextlib.ExitStack() as stack:
            for name, figures in measure(args, stack).items():
                rounds[name].append(figures)
    result = {"servers": table(rounds, starts), "cpu_ratios": ratios(rounds)}
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
