"""The service of the tests of life.offload(), synchronous and for asyncio: requests and replies are
bytes. All but the last two are offloaded.

    Hold    says "holds", and answers "held" when the test lets it go on
    Mark    says "marked"
    Ask     says "asks", waits to be told that nobody wants its answer, and says "told"
    Throw   raises KeyError("secret")
    Status  raises a StatusError: NOT_FOUND
    Pid     the process that it runs in
    Spin    says "spins", with its process, and computes for ever
    Die     ends its process
    Rows    stream: so many rows as the request says; says "closed", with how many it yielded
    Fail    stream: a row, and then it raises
    Here    answers "here"
    Counts  the offload's counts, as JSON
"""

import asyncio
import dataclasses
import json
import os
import signal
import sys
import threading
from concurrent import futures

import grpc
import grpc.aio

import lastcall
from python_program import say

NAME = "test.Offload"
ROW = 100_000  # bytes

_go_on = threading.Semaphore(0)  # for each line that is read from stdin


def _begin(life):
    def read_stdin():
        for _ in sys.stdin:
            _go_on.release()

    def await_grace():
        life.event("grace").wait()
        say("grace")

    for each in read_stdin, await_grace:
        threading.Thread(target=each, daemon=True).start()


def hold(request):
    say("holds")
    _go_on.acquire()
    return b"held"


def mark(request):
    say("marked")
    return b"marked"


def ask(request):
    say("asks")
    told = lastcall.stop_token().wait(60)
    say("told" if told else "not told")
    return b""


def throw(request):
    raise KeyError("secret")


def status(request):
    raise lastcall.StatusError(grpc.StatusCode.NOT_FOUND, "no such scene")


def pid(request):
    return str(os.getpid()).encode()


def spin(request):
    say("spins", pid=os.getpid())
    while True:
        pass


def die(request):
    os.kill(os.getpid(), signal.SIGKILL)


def rows(request):
    count = 0
    try:
        while count < int(request):
            count += 1
            yield b"x" * ROW
    finally:
        say("closed", yielded=count)


def fail(request):
    yield b"row"
    raise KeyError("secret")


UNARY = {"Hold": hold, "Mark": mark, "Ask": ask, "Throw": throw, "Status": status, "Pid": pid,
         "Spin": spin, "Die": die}
STREAMS = {"Rows": rows, "Fail": fail}


def counts(heavy):
    return json.dumps(dataclasses.asdict(heavy.counts())).encode()


def add(server, unary, stream, here, counted):
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, {
        **{name: grpc.unary_unary_rpc_method_handler(unary(work)) for name, work in UNARY.items()},
        **{name: grpc.unary_stream_rpc_method_handler(stream(work))
           for name, work in STREAMS.items()},
        "Here": grpc.unary_unary_rpc_method_handler(here),
        "Counts": grpc.unary_unary_rpc_method_handler(counted),
    }),))


def run_sync(life, **limits):
    """Serves until stopped; says "serving" with the port."""
    _begin(life)
    heavy = life.offload(**limits)
    server = grpc.server(futures.ThreadPoolExecutor(32))
    add(server, lambda work: lambda request, context: heavy.run(context, work, request),
        lambda work: lambda request, context: heavy.stream(context, work, request),
        lambda request, context: b"here", lambda request, context: counts(heavy))
    say("serving", port=life.attach(server, "127.0.0.1:0"))
    life.wait_for_termination()


def run_aio(life, **limits):
    _begin(life)
    heavy = life.offload(**limits)

    def unary(work):
        async def handler(request, context):
            return await heavy.run_async(context, work, request)
        return handler

    def stream(work):
        async def handler(request, context):
            async for row in heavy.stream_async(context, work, request):
                yield row
        return handler

    async def here(request, context):
        return b"here"

    async def counted(request, context):
        return counts(heavy)

    async def main():
        server = grpc.aio.server()
        add(server, unary, stream, here, counted)
        say("serving", port=await life.attach(server, "127.0.0.1:0"))
        await life.event("stopped")

    asyncio.run(main())
