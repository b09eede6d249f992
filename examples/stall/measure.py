#!/usr/bin/python3
"""Four heavy streams and a Ping, in one server: what each of them gets, wherever the heavy work is.

    PYTHONPATH=build/release/python:tests/process LASTCALL_BUILD=build/release \\
        examples/stall/measure.py [--only TEXT] [--streams 2] [--rounds 3]

A table is made for it. Four clients each read it so many times, one after another, and once before. One
calls Ping every 20 ms, whether or not the one before has been answered: who waits to be answered misses
how many would have waited. One asks for health twice a second, with a second of patience.
"""

import argparse
import contextlib
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import grpc

import stall_pb2
import stall_pb2_grpc
from clients import wait_until
from harness import Daemon

SERVER = pathlib.Path(__file__).with_name("pandas_server.py")
REGIONS = ["north", "east", "south", "west"]
ROWS = {"cpp": 3_000_000, "python": 20_000}
MESSAGES = 10  # of a stream
CLIENTS = 4
LARGE = 256 << 20

# What is tried, by API: what its server is told, and, of the call, "unary" and "messages".
CPP = {
    "in the handler": {},
    "with sleeps between rows": {"nap": "1ms"},
    "with more threads": {"limits": {"threads": 10_000}},
    "with a larger message limit": {"limits": {"message": LARGE}},
    "as a unary call": {"unary": True},
    "in a hundred steps, not ten": {"messages": 100},
    "offloaded": {"work": "offload"},
}
PYTHON = {
    "in the handler": {},
    "with sleeps between rows": {"nap": 0.001},
    "with more threads": {"workers": 32},
    "with a larger message limit": {"message": LARGE},
    "as a unary call": {"unary": True},
    "in a hundred steps, not ten": {"messages": 100},
    "offloaded to threads": {"work": "threads", "workers": 32},
    "offloaded to processes": {"work": "processes", "workers": 32},
}
TRIED = {"C++ sync": CPP, "C++ callback": CPP, "Python sync": PYTHON,
         "Python asyncio": {what: told for what, told in PYTHON.items()
                            if what != "with more threads"}}


def make_table(folder, name):
    chance = random.Random(1)
    rows = [f"{chance.choice(REGIONS)},{chance.randrange(100_000) / 100}\n" for _ in range(10_000)]
    with open(folder / name, "w", encoding="ascii") as table:
        table.write("region,amount\n")
        for _ in range(ROWS[name] // len(rows)):
            table.writelines(rows)


@contextlib.contextmanager
def serving_cpp(api, folder, limits=None, **config):
    config = {"folder": str(folder), "api": api, **config}
    with Daemon({"public": {"plugins": ["stall"], "limits": limits or {},
                            "config": {"stall": config}}}, log={"level": "info"}) as daemon:
        yield daemon.address()


@contextlib.contextmanager
def serving_python(api, folder, **flags):
    command = [sys.executable, SERVER, folder, "--address=127.0.0.1:0", f"--api={api}"]
    command += [f"--{flag}={value}" for flag, value in flags.items()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield "127.0.0.1:" + process.stdout.readline().split()[-1]
        finally:
            process.terminate()


def channel(address):
    return grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1),
                                                   ("grpc.max_receive_message_length", LARGE)])


class Figures:
    """Of one row of the table, over all rounds; seconds."""

    def __init__(self, table, unary=False, messages=MESSAGES):
        self.query = stall_pb2.Query(table=table, step=ROWS[table] // messages)
        self.unary = unary
        self.pings, self.took, self.gaps, self.health, self.load = [], [], [], [], []

    def add(self, address, streams):
        self.over = threading.Event()
        self.ready = threading.Barrier(CLIENTS + 2)
        clients = [self.begin(address, self.read_all, streams) for _ in range(CLIENTS)]
        others = [self.begin(address, self.ping), self.begin(address, self.ask)]
        for thread in clients:
            thread.join()
        self.over.set()
        for thread in others:
            thread.join()
        self.load.append(os.getloadavg()[0])

    @staticmethod
    def begin(address, client, *args):
        def run():
            with channel(address) as connection:
                client(connection, stall_pb2_grpc.SalesStub(connection), *args)
        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def read_all(self, _, stub, streams):
        self.read(stub)  # until then there may be no thread or process for it
        self.ready.wait()
        for _ in range(streams):
            took, gap = self.read(stub)
            self.took.append(took)
            self.gaps.append(gap)

    def read(self, stub):
        """How long it took, and the longest time without a message."""
        began = last = time.monotonic()
        gap = 0
        for report in [stub.Total(self.query)] if self.unary else stub.Totals(self.query):
            now = time.monotonic()
            gap, last = max(gap, now - last), now
        assert report.rows == ROWS[self.query.table] and len(report.totals) == len(REGIONS), report
        return last - began, gap

    def ping(self, _, stub):
        stub.Ping(stall_pb2.PingRequest())
        self.ready.wait()
        earlier, pings = len(self.pings), []
        while not self.over.wait(0.02):
            began = time.monotonic()
            pings.append(stub.Ping.future(stall_pb2.PingRequest()))
            pings[-1].add_done_callback(
                lambda _, began=began: self.pings.append(time.monotonic() - began))
        wait_until(lambda: len(self.pings) == earlier + len(pings), "every Ping is answered")
        assert all(ping.code() is grpc.StatusCode.OK for ping in pings)

    def ask(self, connection, _):
        check = connection.unary_unary("/grpc.health.v1.Health/Check")
        check(b"")
        self.ready.wait()
        while not self.over.wait(0.5):
            with contextlib.suppress(grpc.RpcError):
                self.health.append(check(b"", timeout=1) == b"\x08\x01")  # SERVING
                continue
            self.health.append(False)

    def row(self):
        pings = sorted(1e3 * each for each in self.pings)
        return (f"{statistics.median(pings):,.1f} | {pings[int(0.99 * len(pings))]:,.1f} | "
                f"{pings[-1]:,.0f} | {sum(self.health)} of {len(self.health)} | "
                f"{statistics.median(self.took):.1f} | {max(self.gaps):.1f} | "
                f"{min(self.load):.0f} to {max(self.load):.0f}")


def measure(rows, folder, api, what, streams, **told):
    language, kind = api.split()
    table, serving = {"C++": ("cpp", serving_cpp), "Python": ("python", serving_python)}[language]
    of_call = {key: told.pop(key) for key in ("unary", "messages") if key in told}
    figures = rows.setdefault((api, what), Figures(table, **of_call))
    with serving(kind, folder, **told) as address:
        figures.add(address, streams)
    print(api, what, figures.row(), sep=" | ", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="what the row begins with")
    parser.add_argument("--streams", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as where:
        folder = pathlib.Path(where)
        for name in ROWS:
            make_table(folder, name)
        rows = {}
        for _ in range(args.rounds):
            for api, tried in TRIED.items():
                for what, told in tried.items():
                    if f"{api} {what}".startswith(args.only):
                        measure(rows, folder, api, what, args.streams, **told)
    print("| API | the heavy work is | Ping ms: median | p99 | longest | health answered "
          "| heavy call s: median | longest gap s | load |\n|" + "---|" * 9)
    for (api, what), figures in rows.items():
        print(f"| {api} | {what} | {figures.row()} |")


if __name__ == "__main__":
    main()
