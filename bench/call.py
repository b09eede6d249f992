#!/usr/bin/python3
"""CPU per unary call: the echo plugin under lastcall-host beside the same method in a bare gRPC server.

    PYTHONPATH=build/release/python:tests/process LASTCALL_BUILD=build/release bench/call.py [ROUNDS]

The two take turns, the same calls from the same client; what counts is the ratio.
"""

import statistics
import subprocess
import sys
import time
from concurrent import futures

import grpc

import echo_pb2_grpc
from echo_pb2 import EchoRequest
from harness import BIN, Daemon

CALLS = 4000


def cpu_us(pid):
    # The process's own CPU clock (clock_getcpuclockid(3)): /proc counts in ticks of 10 ms.
    return time.clock_gettime((~pid << 3) | 2) * 1e6


def per_call(pid, echo):
    before = cpu_us(pid)
    with futures.ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda _: echo.Unary(EchoRequest(text="x" * 100)), range(CALLS)):
            pass
    return (cpu_us(pid) - before) / CALLS


def main(rounds):
    bare = subprocess.Popen([BIN / "bare_server"], stdout=subprocess.PIPE, text=True)
    port = int(bare.stdout.readline())
    with Daemon(log={"level": "info"}) as daemon:
        hosted_echo = daemon.echo()
        bare_echo = echo_pb2_grpc.EchoStub(grpc.insecure_channel(f"127.0.0.1:{port}"))
        hosted_pid = daemon.process_pid()
        per_call(bare.pid, bare_echo), per_call(hosted_pid, hosted_echo)  # warm up
        rows = [(per_call(hosted_pid, hosted_echo), per_call(bare.pid, bare_echo)) for _ in range(rounds)]
    bare.kill()
    bare.wait()
    for name, figures in (("hosted", [row[0] for row in rows]), ("bare", [row[1] for row in rows]),
                          ("ratio", [row[0] / row[1] for row in rows])):
        unit = "" if name == "ratio" else " us/call"
        print(f"{name:7} min {min(figures):6.2f}  median {statistics.median(figures):6.2f}  "
              f"max {max(figures):6.2f}{unit}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
