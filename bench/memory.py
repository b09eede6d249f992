#!/usr/bin/python3
"""What `[server.X.limits] memory` holds, and what it does not: a host's own memory under clients
that take as much of it as they can, with and without a limit, and what a bystander gets meanwhile.

    PYTHONPATH=build/release/python:tests/process LASTCALL_BUILD=build/release \\
        bench/memory.py [--connections 20] [--calls 40] [--seconds 25]

unfinished  calls whose message is sent but for its last bytes
unread      streams of answers of 2 MB that nobody reads
"""

import argparse
import collections
import contextlib
import threading
import time

from clients import Busy
from echo_pb2 import EchoRequest
from harness import Daemon
from hostile_peers import Hoarder
from idle import private_kib

BIG = 2_000_000


def again_and_again(stack, address, connections, what):
    """Each connection in a thread of its own, and another one when the server has closed it."""
    over = threading.Event()
    stack.callback(over.set)

    def one():
        while not over.is_set():
            with contextlib.suppress(OSError), Hoarder(address) as peer:
                what(peer)
                peer.stay(over)

    for _ in range(connections):
        threading.Thread(target=one, daemon=True).start()


def unfinished(stack, address, connections, calls):
    again_and_again(stack, address, connections, lambda peer: peer.hoard(calls, 2 * BIG))


def unread(stack, address, connections, calls):
    wanted = EchoRequest(text="x" * BIG, count=1000)
    again_and_again(stack, address, connections, lambda peer: peer.ask(calls, wanted))


def measure(hog, limit, args):
    limits = {"memory": limit, "keepalive": "10m"}
    with contextlib.ExitStack() as stack:
        daemon = stack.enter_context(Daemon({"public": {"limits": limits}}, log={"level": "info"}))
        bystander = stack.enter_context(Busy(daemon, threads=1))
        host = daemon.process_pid()
        before, most = private_kib(host), 0
        hog(stack, daemon.address(), args.connections, args.calls)
        began = time.monotonic()
        while time.monotonic() - began < args.seconds:
            most = max(most, private_kib(host) - before)
            time.sleep(0.5)
        codes = collections.Counter(code.name for _, code, _ in bystander.failed)
        print(f"{hog.__name__:10} memory = {limit:6}: {most / 1024:6.0f} MiB; bystander: "
              f"{len(bystander.ok)} calls good, {len(bystander.failed)} failed {dict(codes)}",
              flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--calls", type=int, default=40, help="on each of them")
    parser.add_argument("--seconds", type=float, default=25)
    parser.add_argument("--limits", nargs="*", default=["0B", "1GiB", "64MiB"])
    args = parser.parse_args()
    for hog in (unfinished, unread):
        for limit in args.limits:
            measure(hog, limit, args)


if __name__ == "__main__":
    main()
