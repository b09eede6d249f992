"""A client of matrix.py, which says what it is given: Python's grpc.aio."""

import asyncio
import collections
import json
import random
import sys

import grpc.aio

target, callers, connections, pause_ms, service_config = sys.argv[1:]


async def call(channel, over, results):
    unary = channel.unary_unary("/lastcall.example.Echo/Unary")
    while not over.is_set():
        if pause_ms != "0":
            await asyncio.sleep(random.random() * int(pause_ms) / 1000)
        try:
            await unary(b"")
            results.append("")
        except grpc.aio.AioRpcError as error:
            results.append(f"{error.code().value[0]} {error.details()}")
            await asyncio.sleep(0.001)


async def main():
    options = [("grpc.use_local_subchannel_pool", 1)]
    if service_config:
        options.append(("grpc.service_config", service_config))
    channels = [grpc.aio.insecure_channel(target, options) for _ in range(int(connections))]
    for each in channels:
        await asyncio.wait_for(each.channel_ready(), 10)
    over, results = asyncio.Event(), []
    calling = [asyncio.create_task(call(channels[i % len(channels)], over, results))
               for i in range(int(callers))]
    print("connected", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    over.set()
    await asyncio.gather(*calling)
    lost = collections.Counter(filter(None, results))
    print(json.dumps({"calls": len(results), "lost": lost}))


asyncio.run(main())
