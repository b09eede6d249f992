#!/usr/bin/python3
"""How long it takes to list every call in flight, and what that costs the calls.

    PYTHONPATH=build/release/python:tests/process LASTCALL_BUILD=build/release bench/calls.py [STREAMS] [ROUNDS]

So many streams are open and say nothing (10,000), each connection with some of them. A listing is timed
from the question to its last part, over the admin socket; lastcallctl from its start to its end. In
between, one caller makes unary calls one after another: their p50 and p99 while it is listed, and while
it is not.
"""

import statistics
import subprocess
import sys
import threading
import time

import grpc

import callback_echo_pb2
import callback_echo_pb2_grpc
from echo_pb2 import EchoRequest
from harness import Daemon
from lastcall.admin.v1.admin_pb2 import ListCallsRequest

ON_ONE_CONNECTION = 100


def open_streams(daemon, count):
    request = callback_echo_pb2.CallbackRequest(text="x", count=2, interval_ms=3_600_000)
    streams = []
    for first in range(0, count, ON_ONE_CONNECTION):
        stub = callback_echo_pb2_grpc.CallbackEchoStub(daemon.channel("callback"))
        streams += [stub.ServerStream(request)
                    for _ in range(min(ON_ONE_CONNECTION, count - first))]
    while daemon.server("callback").calls_in_flight < count:
        time.sleep(0.1)
    return streams


def listing(daemon):
    begun = time.perf_counter()
    parts = list(daemon.admin().ListCalls(ListCallsRequest(), timeout=30))
    return time.perf_counter() - begun, sum(len(part.calls) for part in parts)


def by_ctl(daemon):
    begun = time.perf_counter()
    subprocess.run(daemon.ctl_command("--json", "calls"), check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


class Caller:
    """Makes calls; how long each took, by whether a listing was in progress."""

    def __init__(self, daemon):
        self.echo = daemon.echo()
        self.listed = False
        self.took = {False: [], True: []}
        self.end = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.end.is_set():
            listed, begun = self.listed, time.perf_counter()
            self.echo.Unary(EchoRequest(text="x"), timeout=30)
            if listed == self.listed:
                self.took[listed].append(time.perf_counter() - begun)


def figures(seconds):
    ordered = sorted(seconds)
    return (f"median {1000 * statistics.median(ordered):7.2f} ms   "
            f"p99 {1000 * ordered[int(0.99 * len(ordered))]:7.2f} ms   n={len(ordered)}")


def main(streams, rounds):
    servers = {"public": {}, "callback": {"plugins": ["callback_echo"],
                                          "limits": {"streams": ON_ONE_CONNECTION}}}
    with Daemon(servers=servers, log={"level": "info"}) as daemon:
        opened = open_streams(daemon, streams)
        caller = Caller(daemon)
        listings, ctl = [], []
        for _ in range(rounds):
            time.sleep(0.3)
            caller.listed = True
            took, count = listing(daemon)
            caller.listed = False
            assert count >= streams, count
            listings.append(took)
            ctl.append(by_ctl(daemon))
        caller.end.set()
        caller.thread.join()
        print(f"{streams} open streams")
        print(f"a listing            {figures(listings)}")
        print(f"lastcallctl --json   {figures(ctl)}")
        print(f"calls meanwhile      {figures(caller.took[True])}")
        print(f"calls otherwise      {figures(caller.took[False])}")
        for stream in opened:
            stream.cancel()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000,
         int(sys.argv[2]) if len(sys.argv) > 2 else 20)
