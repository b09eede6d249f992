"""The other baseline of loss.py and hosting.py: the echo service in Debian's Python grpcio.

    python_server.py [--aio] ADDRESS

Prints its port. SIGTERM ends it by server.stop(grace).
"""

import asyncio
import signal
import sys
import time
from concurrent import futures

import grpc
import grpc.aio

import echo_pb2_grpc
from echo_pb2 import EchoReply


class Echo(echo_pb2_grpc.EchoServicer):
    def Unary(self, request, context):
        return EchoReply(text=request.text)

    def Slow(self, request, context):
        time.sleep(request.delay_ms / 1000)
        return EchoReply()

    def Bidi(self, requests, context):
        for _ in requests:
            yield EchoReply()


class AioEcho(echo_pb2_grpc.EchoServicer):
    async def Unary(self, request, context):
        return EchoReply(text=request.text)


def serve(address):
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    server = grpc.server(futures.ThreadPoolExecutor(32))
    echo_pb2_grpc.add_EchoServicer_to_server(Echo(), server)
    print(server.add_insecure_port(address), flush=True)
    server.start()
    signal.sigwait({signal.SIGTERM})
    server.stop(10).wait()


async def serve_aio(address):
    server = grpc.aio.server()
    echo_pb2_grpc.add_EchoServicer_to_server(AioEcho(), server)
    port = server.add_insecure_port(address)
    await server.start()
    print(port, flush=True)
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    await over.wait()
    await server.stop(10)


if sys.argv[1] == "--aio":
    asyncio.run(serve_aio(sys.argv[2]))
else:
    serve(sys.argv[1])
