#!/usr/bin/python3
"""How long stopping takes, against what was planned.

    PYTHONPATH=build/release/python:tests/process LASTCALL_BUILD=build/release bench/stop.py [ROUNDS]

idle     SIGTERM to an idle daemon with a connected client, delay 0: until the last of its processes is gone
cancel   a call of 60 s, grace 0.5 s: how much later than planned its client sees the end
refused  a call in flight, grace 60 s, a client each millisecond: from SIGTERM until the first is refused
hung     the same with a host that is stopped
forced   a handler that ignores everything, grace 0.2 s, cancel 1 s: until the tree is gone, beyond the plan
"""

import errno
import os
import select
import signal
import socket
import statistics
import sys
import time

from echo_pb2 import EchoRequest
from harness import Daemon


def gone(pids):
    """Waits for the end of all and returns the instant."""
    descriptors = [os.pidfd_open(pid) for pid in pids]
    for descriptor in descriptors:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        poller.poll(30_000)
        os.close(descriptor)
    return time.monotonic()


def idle():
    with Daemon() as daemon:
        echo = daemon.echo()
        echo.Unary(EchoRequest(text="connected"))
        pids = [daemon.pid, *daemon.hosts()]
        began = time.monotonic()
        daemon.signal(signal.SIGTERM)
        took = gone(pids) - began
        assert daemon.wait() == 0
        return took


def cancel():
    with Daemon(shutdown={"grace": "500ms", "cancel": "2s"}) as daemon:
        call = daemon.slow(60)
        daemon.await_calls(1)
        began = time.monotonic()
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 3
        return call.wait().ended - began - 0.5


def forced():
    with Daemon(shutdown={"grace": "200ms", "cancel": "1s"}) as daemon:
        daemon.slow(60, method="Stubborn")
        daemon.await_calls(1, method="Stubborn")
        pids = [daemon.pid, *daemon.hosts()]
        began = time.monotonic()
        daemon.signal(signal.SIGTERM)
        took = gone(pids) - began
        assert daemon.wait() == 4
        return took - 1.2


def knock(port):
    """A client that tries to connect, and does not wait for what comes of it."""
    client = socket.socket()
    client.setblocking(False)
    client.connect_ex(("127.0.0.1", port))
    return client


def refused(hang=False):
    with Daemon(shutdown={"grace": "60s"}) as daemon:
        held, port = daemon.held(), int(daemon.address().rpartition(":")[2])
        host = daemon.process_pid()
        if hang:
            os.kill(host, signal.SIGSTOP)
        began = time.monotonic()
        daemon.signal(signal.SIGTERM)
        clients = []
        while not any(client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
                      for client in clients):
            clients.append(knock(port))
            time.sleep(0.001)
        took = time.monotonic() - began
        for client in clients:
            client.close()
        os.kill(host, signal.SIGCONT)
        held.finish()
        assert daemon.wait() == 0
        return took


def hung():
    return refused(hang=True)


def main(rounds):
    print(f"{'ms':8} {'min':>8} {'median':>8} {'max':>8}   of {rounds}")
    for measure in (idle, cancel, refused, hung, forced):
        figures = sorted(1e3 * measure() for _ in range(rounds))
        print(f"{measure.__name__:8} {figures[0]:8.1f} {statistics.median(figures):8.1f} {figures[-1]:8.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
