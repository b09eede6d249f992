"""A client of matrix.py, which says what it is given: Python's grpcio, a thread for each caller."""

import collections
import json
import random
import sys
import threading
import time

import grpc

target, callers, connections, pause_ms, service_config = sys.argv[1:]
options = [("grpc.use_local_subchannel_pool", 1)]
if service_config:
    options.append(("grpc.service_config", service_config))
channels = [grpc.insecure_channel(target, options) for _ in range(int(connections))]
for each in channels:
    grpc.channel_ready_future(each).result(10)
over = threading.Event()
results = []


def call(channel):
    unary = channel.unary_unary("/lastcall.example.Echo/Unary")
    while not over.is_set():
        if pause_ms != "0":
            time.sleep(random.random() * int(pause_ms) / 1000)
        try:
            unary(b"")
            results.append("")
        except grpc.RpcError as error:
            results.append(f"{error.code().value[0]} {error.details()}")
            time.sleep(0.001)


threads = [threading.Thread(target=call, args=(channels[i % len(channels)],))
           for i in range(int(callers))]
for each in threads:
    each.start()
print("connected", flush=True)
sys.stdin.read()
over.set()
for each in threads:
    each.join()
lost = collections.Counter(filter(None, results))
print(json.dumps({"calls": len(results), "lost": lost}))
