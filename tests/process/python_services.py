"""The services of the test programs, synchronous and for asyncio: requests and replies are bytes.

    Sleep   unary: says "asleep", sleeps as many seconds as the request says, answers "slept"
    Ticks   stream: "tick" until it is told to leave ("leave"); then on, until its call is cancelled
    Late    unary: asks to be told to leave once a stream was, and answers "told" when it is
    Deaf    unary: does not return whatever happens to its call
"""

import asyncio
import threading
import time
from concurrent import futures

import grpc
import grpc.aio

from python_program import say

NAME = "test.Service"


def handlers(sleep, ticks, late, deaf):
    return grpc.method_handlers_generic_handler(NAME, {
        "Sleep": grpc.unary_unary_rpc_method_handler(sleep),
        "Ticks": grpc.unary_stream_rpc_method_handler(ticks),
        "Late": grpc.unary_unary_rpc_method_handler(late),
        "Deaf": grpc.unary_unary_rpc_method_handler(deaf),
    })


def sync_server(life, threads=8, **kwargs):
    one_was_told = threading.Event()

    def sleep(request, context):
        say("asleep")
        time.sleep(float(request))
        return b"slept"

    def ticks(request, context):
        leave = threading.Event()
        life.leaving(context, leave.set)
        told = False
        try:
            while True:
                if leave.wait(0.02) and not told:
                    told = True
                    one_was_told.set()
                    yield b"leave"
                time.sleep(0.02)
                yield b"tick"
        finally:  # grpcio closes the generator when the call is over
            say("cancelled")

    def late(request, context):
        say("late")
        one_was_told.wait()
        leave = threading.Event()
        life.leaving(context, leave.set)
        return b"told" if leave.is_set() else b"not told"

    def deaf(request, context):
        say("deaf")
        while True:
            time.sleep(0.01)

    server = grpc.server(futures.ThreadPoolExecutor(threads), **kwargs)
    server.add_generic_rpc_handlers((handlers(sleep, ticks, late, deaf),))
    return server


def aio_server(life, **kwargs):
    one_was_told = asyncio.Event()

    async def sleep(request, context):
        say("asleep")
        await asyncio.sleep(float(request))
        return b"slept"

    async def ticks(request, context):
        leave = asyncio.Event()
        life.leaving(context, leave.set)
        told = False
        try:
            while True:
                await asyncio.sleep(0.02)
                if leave.is_set() and not told:
                    told = True
                    one_was_told.set()
                    yield b"leave"
                yield b"tick"
        finally:
            say("cancelled")

    async def late(request, context):
        say("late")
        await one_was_told.wait()
        leave = asyncio.Event()
        life.leaving(context, leave.set)
        await asyncio.sleep(0)  # it is the loop that tells
        return b"told" if leave.is_set() else b"not told"

    async def deaf(request, context):
        say("deaf")
        while True:
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                pass

    server = grpc.aio.server(**kwargs)
    server.add_generic_rpc_handlers((handlers(sleep, ticks, late, deaf),))
    return server


def run_sync(life, **kwargs):
    """Serves until stopped; says "serving" with the port."""
    say("serving", port=life.attach(sync_server(life, **kwargs), "127.0.0.1:0"))
    life.wait_for_termination()


def run_aio(life, **kwargs):
    async def main():
        say("serving", port=await life.attach(aio_server(life, **kwargs), "127.0.0.1:0"))
        await life.event("stopped")

    asyncio.run(main())
