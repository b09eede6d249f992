"""The same for grpc.aio.server: no thread waits, and the loop is never blocked.

    PYTHONPATH=build/release/python /usr/bin/python3 examples/python/aio_server.py [ADDRESS]
"""

import asyncio
import sys

import grpc
import grpc.aio

import lastcall


async def greet(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
    await asyncio.sleep(1)
    return b"hello " + request


async def main() -> int | None:
    async with lastcall.Lifecycle(delay=5, grace=20, cancel=5) as life:

        async def count(request: bytes, context: grpc.aio.ServicerContext):
            """Counts seconds, until its process is to end or its client is gone."""
            leave = asyncio.Event()
            life.leaving(context, leave.set)
            number = 0
            while not leave.is_set():
                yield str(number).encode()
                number += 1
                try:
                    await asyncio.wait_for(leave.wait(), 1)
                except asyncio.TimeoutError:
                    pass
            await context.abort(grpc.StatusCode.UNAVAILABLE, "going away: connect again")

        server = grpc.aio.server()
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("example.Greeter", {
            "Greet": grpc.unary_unary_rpc_method_handler(greet),
            "Count": grpc.unary_stream_rpc_method_handler(count),
        }),))
        address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051"
        port = await life.attach(server, address)
        print(f"serving on {address}, port {port}", flush=True)
        await life.event("stopped")
    print(life.receipt["outcome"])
    return life.exit_code


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
