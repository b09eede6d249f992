#!/usr/bin/python3
"""What a trivial method of a grpc.aio.server takes beside two callers of 200 ms of pure Python: in the
handler, in threads of life.offload(), in processes of it.

    PYTHONPATH=build/release/python bench/python_offload.py [CALLS]
"""

import asyncio
import contextlib
import statistics
import subprocess
import sys
import threading
import time

import grpc
import grpc.aio

import lastcall


def compute(seconds):
    end = time.monotonic() + float(seconds)
    total = 0
    while time.monotonic() < end:
        total += sum(number * number for number in range(1000))
    return b"done"


async def serve(kind):
    async with lastcall.Lifecycle(grace=1) as life:
        heavy = life.offload(**{kind: 2}) if kind != "handler" else None

        async def work(request, context):
            if heavy is None:
                return compute(request)
            return await heavy.run_async(context, compute, request)

        async def here(request, context):
            return b"here"

        server = grpc.aio.server()
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Service", {
            "Work": grpc.unary_unary_rpc_method_handler(work),
            "Here": grpc.unary_unary_rpc_method_handler(here)}),))
        print(await life.attach(server, "127.0.0.1:0"), flush=True)
        await life.event("stopped")


@contextlib.contextmanager
def server(kind):
    process = subprocess.Popen([sys.executable, __file__, "serve", kind], stdout=subprocess.PIPE,
                               text=True)
    try:
        yield f"127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def load(address, callers=2):
    over = threading.Event()
    began = threading.Barrier(callers + 1)

    def call():
        with grpc.insecure_channel(address) as channel:
            work = channel.unary_unary("/bench.Service/Work")
            work(b"0.2")  # a process is there by now
            began.wait()
            while not over.is_set():
                work(b"0.2")
    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    began.wait()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def measure(name, address, calls):
    with grpc.insecure_channel(address) as channel:
        here = channel.unary_unary("/bench.Service/Here")
        here(b"")  # connects
        took = []
        for _ in range(calls):
            began = time.monotonic()
            here(b"")
            took.append(1e3 * (time.monotonic() - began))
    print(f"{name:16} {statistics.median(took):8.2f} {sorted(took)[int(0.99 * calls)]:8.2f}",
          flush=True)


def main(calls=100):
    print(f"{'ms':16} {'median':>8} {'p99':>8}   of {calls}")
    for kind in ("handler", "threads", "processes"):
        with server(kind) as address:
            if kind == "handler":
                measure("beside nothing", address, calls)
            with load(address):
                measure(kind, address, calls)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve(sys.argv[2]))
    else:
        main(*map(int, sys.argv[1:]))
