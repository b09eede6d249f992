#!/usr/bin/python3
"""What calls feel of stacks that are taken meanwhile.

    PYTHONPATH=build/release/python:tests/process LASTCALL_BUILD=build/release \\
        bench/stacks.py [ROUNDS [SECONDS]]

16 callers that call again at once keep a hosted server at full load. In each round so many seconds of
these, in an order that turns: nothing else; once a second the stack of each call in flight, as `lastcallctl
call` has it; once a second those of all threads, as SIGUSR1 has them. By default 6 rounds of 10 s: a minute
of each. What counts are the calls lost, and each round's ratio to its own seconds of nothing.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import threading

import grpc

from harness import BIN, Daemon
from lastcall.admin.v1.admin_pb2 import GetCallRequest, ListCallsRequest

CALLERS = 16


def of_calls(daemon):
    """How many it has got."""
    admin, taken = daemon.admin(), 0
    for part in admin.ListCalls(ListCallsRequest(), timeout=10):
        for call in part.calls:
            try:
                taken += bool(admin.GetCall(GetCallRequest(id=call.id), timeout=10).stack)
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.NOT_FOUND:  # it is over
                    raise
    return taken


def of_threads(daemon):
    os.kill(daemon.pid, signal.SIGUSR1)
    return 0  # they are counted in the log


KINDS = {"nothing": None, "calls": of_calls, "threads": of_threads}


def phase(daemon, take, seconds):
    client = subprocess.Popen(
        [BIN / "loss_client", daemon.address(), str(CALLERS), "unary", "0", "--connections", "4"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    client.stdout.readline()  # all are connected
    print("begin", file=client.stdin, flush=True)
    end, taken = threading.Event(), 0
    timer = threading.Timer(seconds, end.set)
    timer.start()
    while not end.wait(1):
        if take is not None:
            taken += take(daemon)
    print("end", file=client.stdin, flush=True)
    said = json.loads(client.communicate()[0])
    return {**said["met"], "lost": sum(said["lost"].values()), "stacks": taken}


def main(rounds=6, seconds=10):
    figures = {kind: [] for kind in KINDS}
    order = list(KINDS)
    with Daemon(log={"level": "warning"}) as daemon:
        phase(daemon, None, 2)  # warm up
        for _ in range(rounds):
            for kind in order:
                figures[kind].append(phase(daemon, KINDS[kind], seconds))
            order.append(order.pop(0))
        dumped = daemon.log().count("dump: thread ")
    print(f"{'ms':8} {'calls':>9} {'lost':>5} {'stacks':>7} {'median':>8} {'p99':>8} {'max':>8}"
          f"   in {rounds} x {seconds} s; load {os.getloadavg()[0]:.1f}")
    for kind, each in figures.items():
        stacks = dumped if kind == "threads" else sum(one["stacks"] for one in each)
        print(f"{kind:8} {sum(one['calls'] for one in each):9} {sum(one['lost'] for one in each):5} "
              f"{stacks:7} {statistics.median(one['p50_ms'] for one in each):8.3f} "
              f"{statistics.median(one['p99_ms'] for one in each):8.3f} "
              f"{max(one['max_ms'] for one in each):8.3f}")
    for kind in list(KINDS)[1:]:
        ratios = sorted(one["p99_ms"] / bare["p99_ms"]
                        for one, bare in zip(figures[kind], figures["nothing"]))
        print(f"p99 with stacks of {kind}: {statistics.median(ratios):.2f} of that with nothing "
              f"({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
