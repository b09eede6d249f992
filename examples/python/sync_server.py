"""A grpc.server that ends in stages: SIGTERM, five seconds in which load balancers see its health,
twenty in which calls finish. Nothing is generated here, so that it runs as it is:

    PYTHONPATH=build/release/python /usr/bin/python3 examples/python/sync_server.py [ADDRESS]
"""

import sys
import threading
import time
from concurrent import futures

import grpc

import lastcall

life = lastcall.Lifecycle(delay=5, grace=20, cancel=5)


def greet(request: bytes, context: grpc.ServicerContext) -> bytes:
    time.sleep(1)
    return b"hello " + request


def count(request: bytes, context: grpc.ServicerContext):
    """Counts seconds, until its process is to end or its client is gone."""
    leave = threading.Event()
    life.leaving(context, leave.set)
    number = 0
    while context.is_active():
        yield str(number).encode()
        number += 1
        if leave.wait(1):
            context.abort(grpc.StatusCode.UNAVAILABLE, "going away: connect again")


def main() -> int | None:
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("example.Greeter", {
        "Greet": grpc.unary_unary_rpc_method_handler(greet),
        "Count": grpc.unary_stream_rpc_method_handler(count),
    }),))
    address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051"
    with life:
        port = life.attach(server, address)
        print(f"serving on {address}, port {port}", flush=True)
        life.wait_for_termination()
    print(life.receipt["outcome"])
    return life.exit_code


if __name__ == "__main__":
    sys.exit(main())
