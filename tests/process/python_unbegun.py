"""A server whose call is under way although no handler has begun; one way each. It says "under way"
when it is, and lets it go on when SIGUSR2 comes."""

import asyncio
import signal
import threading
import time
from concurrent import futures

import grpc
import grpc.aio
import lastcall
from python_program import say

go_on = threading.Event()


def echo(request, context):
    return request


def handlers(method):
    return (grpc.method_handlers_generic_handler("test.Service", {"Echo": method}),)


class Interceptor(grpc.ServerInterceptor):
    def intercept_service(self, continuation, details):
        if details.method == "/test.Service/Echo":
            say("under way")
            go_on.wait()
        return continuation(details)


class AioInterceptor(grpc.aio.ServerInterceptor):
    async def intercept_service(self, continuation, details):
        if details.method == "/test.Service/Echo":
            say("under way")
            while not go_on.is_set():
                await asyncio.sleep(0.01)
        return await continuation(details)


def report(life):
    life.event("grace").wait()
    say("grace")


def serve(kind):
    signal.signal(signal.SIGUSR2, lambda number, frame: go_on.set())
    if kind.startswith("aio"):
        asyncio.run(serve_aio(kind))
        return
    pool = futures.ThreadPoolExecutor(max_workers=1)
    interceptors = (Interceptor(),) if kind == "interceptor" else ()
    server = grpc.server(pool, interceptors=interceptors)
    if kind != "service":
        server.add_generic_rpc_handlers(handlers(grpc.unary_unary_rpc_method_handler(echo)))
    with lastcall.Lifecycle(grace=60) as life:
        threading.Thread(target=report, args=(life,), daemon=True).start()
        port = life.attach(server, "127.0.0.1:0")
        if kind == "service":
            def wait(request, context):
                say("under way")
                go_on.wait()
                return request
            server.add_generic_rpc_handlers(handlers(grpc.unary_unary_rpc_method_handler(wait)))
        if kind == "thread":
            pool.submit(go_on.wait)
        say("serving", port=port)
        if kind in ("thread", "message"):
            while not server._state.rpc_states:
                time.sleep(0.01)
            say("under way")
        life.wait_for_termination()
    say("receipt", **life.receipt)


async def serve_aio(kind):
    async with lastcall.Lifecycle(grace=60) as life:
        threading.Thread(target=report, args=(life,), daemon=True).start()
        interceptors = (AioInterceptor(),) if kind == "aio interceptor" else ()
        server = grpc.aio.server(interceptors=interceptors)
        server.add_generic_rpc_handlers(handlers(grpc.unary_unary_rpc_method_handler(echo_aio)))
        say("serving", port=await life.attach(server, "127.0.0.1:0"))
        if kind == "aio message":  # grpcio reads it before it calls the handler
            before = len(asyncio.all_tasks())
            while len(asyncio.all_tasks()) == before:
                await asyncio.sleep(0.01)
            say("under way")
        await life.event("stopped")
    say("receipt", **life.receipt)


async def echo_aio(request, context):
    return request
