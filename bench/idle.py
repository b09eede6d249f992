#!/usr/bin/python3
"""Memory and CPU of idle connections: the echo plugin under lastcall-host beside a bare gRPC server.

    PYTHONPATH=build/release/python:tests/process LASTCALL_BUILD=build/release \\
        bench/idle.py [--connections 10000] [--seconds 10]

Each connection has said its HTTP/2 hello and nothing more. Memory is what the process has for itself
(private pages), the kernel's sockets left out: they are the same for both.
"""

import argparse
import resource
import socket
import subprocess
import time

from harness import BIN, Daemon
from hostile_peers import PREFACE, SETTINGS, frame

ACKNOWLEDGED = 1


def private_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
        return sum(int(line.split()[1]) for line in rollup if line.startswith("Private_"))


def cpu_s(pid):
    return time.clock_gettime((~pid << 3) | 2)


def connect(port):
    """A client that has nothing to say. Returns when the server has answered its hello."""
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(PREFACE + frame(SETTINGS) + frame(SETTINGS, ACKNOWLEDGED))
    heard = b""
    while frame(SETTINGS, ACKNOWLEDGED) not in heard:
        heard += client.recv(4096)
    return client


def measure(name, pid, port, count, seconds):
    warm = [connect(port) for _ in range(100)]
    before = private_kib(pid)
    began = time.monotonic()
    clients = [connect(port) for _ in range(count)]
    took = time.monotonic() - began
    each = (private_kib(pid) - before) / count
    cpu = cpu_s(pid)
    time.sleep(seconds)
    cpu = (cpu_s(pid) - cpu) / seconds
    for client in warm + clients:
        client.close()
    print(f"{name:7} {count} connections: {each:6.1f} KiB each, {took:5.1f} s to make them, "
          f"{1000 * cpu:6.2f} ms of CPU a second while idle", flush=True)
    return each


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=10000)
    parser.add_argument("--seconds", type=int, default=10)
    args = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    bare = subprocess.Popen([BIN / "bare_server"], stdout=subprocess.PIPE, text=True)
    try:
        bare_kib = measure("bare", bare.pid, int(bare.stdout.readline()), args.connections,
                           args.seconds)
    finally:
        bare.kill()
        bare.wait()
    limits = {"limits": {"connections": args.connections + 1000, "keepalive": "10m"}}
    with Daemon({"public": limits}, log={"level": "info"}) as daemon:
        port = int(daemon.address().rsplit(":", 1)[1])
        hosted_kib = measure("hosted", daemon.process_pid(), port, args.connections, args.seconds)
    print(f"ratio   {hosted_kib / bare_kib:.2f}")


if __name__ == "__main__":
    main()
