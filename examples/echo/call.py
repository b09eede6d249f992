"""One call of each kind to the echo plugin, by Debian's Python gRPC.

    PYTHONPATH=build/release/python python3 examples/echo/call.py 127.0.0.1:50051 TEXT
"""

import sys

import grpc

import echo_pb2
import echo_pb2_grpc


def main(address, text):
    with grpc.insecure_channel(address) as channel:
        echo = echo_pb2_grpc.EchoStub(channel)
        reply = echo.Unary(echo_pb2.EchoRequest(text=text), timeout=5)
        print(f"  Unary         {text!r} -> {reply.text!r}, answered by pid {reply.pid}")
        stream = echo.ServerStream(echo_pb2.EchoRequest(text=text, count=3, interval_ms=10), timeout=5)
        print(f"  ServerStream  {text!r} -> {[each.text for each in stream]}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
