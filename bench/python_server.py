"""The other baseline of loss.py: the echo service in Debian's Python grpcio.

    python_server.py ADDRESS

Prints its port. SIGTERM ends it by server.stop(grace).
"""

import signal
import sys
import time
from concurrent import futures

import grpc

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


def main():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    server = grpc.server(futures.ThreadPoolExecutor(32))
    echo_pb2_grpc.add_EchoServicer_to_server(Echo(), server)
    print(server.add_insecure_port(sys.argv[1]), flush=True)
    server.start()
    signal.sigwait({signal.SIGTERM})
    server.stop(10).wait()


main()
