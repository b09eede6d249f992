#!/usr/bin/python3
"""Whether anybody is alarmed for nothing: a host that has more to do than it can, and no call that is stuck.

    PYTHONPATH=build/release/python:tests/process LASTCALL_BUILD=build/release \\
        bench/alarms.py [--minutes 30] [--burners 6] [--silent 1000] [--clock]

Eight callers call a synchronous and a callback service without a pause; beside them so many processes do nothing
but compute, and so many streams are open on which nobody says anything (half of them Watch, half Bidi). In
between the host is stopped for 30 s (SIGSTOP), a debugger holds it for 10 s, and, with --clock, the machine's
clock is set 90 s ahead and back. Printed is what the log said of calls that make no progress. "starved" is right
here, and so is that the process was paused; whatever else there is, is a false alarm, and so is a replacement: exit 1.
"""

import argparse
import asyncio
import collections
import contextlib
import re
import subprocess
import sys
import threading
import time

import grpc
import grpc.aio

import callback_echo_pb2_grpc
import echo_pb2
import echo_pb2_grpc
from callback_echo_pb2 import CallbackRequest
from clients import Health
from grpc_stubs.health.v1 import health_pb2
from harness import Daemon

ON_ONE_CONNECTION = 50
# Where it is said of a call it is right, on a machine like this.
STARVED = ": starved of CPU"


async def open_watch(channel):
    watch = channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString)
    stream = watch(health_pb2.HealthCheckRequest())
    await stream.read()
    return stream


async def open_bidi(channel):
    stream = echo_pb2_grpc.EchoStub(channel).Bidi()
    await stream.write(echo_pb2.EchoRequest(text="x"))
    await stream.read()
    return stream


async def stay_silent(address, count):
    channels, streams = [], []
    for i in range(count):
        if i % ON_ONE_CONNECTION == 0:
            channels.append(grpc.aio.insecure_channel(
                address, options=(("grpc.use_local_subchannel_pool", 1),)))
        streams.append(await (open_watch if i % 2 else open_bidi)(channels[-1]))
    print("open", flush=True)
    await asyncio.Event().wait()


@contextlib.contextmanager
def silent(address, count):
    """Streams that are open, and on which nobody says anything more. In a process of their own: in one, gRPC's
    asyncio and its threads end in each other's arms."""
    process = subprocess.Popen([sys.executable, __file__, "--stay-silent", address, str(count)],
                               stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "open\n"
        yield
    finally:
        process.kill()
        process.wait()


class Load:
    """Callers that call again at once."""

    def __init__(self, daemon):
        self.over, self.calls, self.lost = threading.Event(), 0, collections.Counter()
        sync = daemon.echo()
        callback = callback_echo_pb2_grpc.CallbackEchoStub(daemon.channel("callback"))
        each = [lambda: sync.Unary(echo_pb2.EchoRequest(text="x")),
                lambda: callback.Unary(CallbackRequest(text="x"))]
        self.threads = [threading.Thread(target=self._run, args=(each[i % 2],)) for i in range(8)]
        for thread in self.threads:
            thread.start()

    def _run(self, call):
        while not self.over.is_set():
            try:
                call()
                self.calls += 1
            except grpc.RpcError as error:
                self.lost[error.code().name] += 1

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join()


@contextlib.contextmanager
def burners(count):
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def stop(pid, seconds):
    subprocess.run(["kill", "-STOP", str(pid)], check=True)
    time.sleep(seconds)
    subprocess.run(["kill", "-CONT", str(pid)], check=True)


def debug(pid, seconds):
    subprocess.run(["gdb", "-p", str(pid), "-batch", "-ex", f"shell sleep {seconds}"], check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def jump_the_clock(seconds):
    for by in (seconds, -seconds):
        time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME) + by)
        time.sleep(2)


def alarms(log):
    """What was said of calls without progress, and of threads that are held, as (right, line)."""
    said = [line for line in log.splitlines() if re.search(r"(stalled: /|frozen: |full: )", line)]
    return [(STARVED in line, line) for line in said]


def servers():
    return {"public": {}, "callback": {"plugins": ["callback_echo"]}}


def run(daemon, streams, events, between):
    """The load, with each of the events in its turn."""
    with silent(daemon.address(), streams):
        load = Load(daemon)
        try:
            time.sleep(between)
            for event in events:
                event()
                time.sleep(between)
            Health(daemon.channel()).check()
        finally:
            load.end()
    return load


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--burners", type=int, default=6)
    parser.add_argument("--silent", type=int, default=1000)
    parser.add_argument("--clock", action="store_true")
    args = parser.parse_args()
    with Daemon(servers(), log={"level": "info"}) as daemon, burners(args.burners):
        pid = daemon.process_pid()
        events = [lambda: stop(pid, 30), lambda: debug(pid, 10)]
        if args.clock:
            events.append(lambda: jump_the_clock(90))
        between = max(0, 60 * args.minutes - 44) / (len(events) + 1)
        load = run(daemon, args.silent, events, between)
        found = alarms(daemon.log())
        replaced = daemon.process_pid() != pid
    print(f"{load.calls} calls, lost {dict(load.lost)}; {len(found)} reports, "
          f"{sum(not right for right, _ in found)} of them wrong{'; REPLACED' if replaced else ''}")
    for right, line in found:
        print("  right" if right else "  WRONG", line)
    sys.exit(replaced or not all(right for right, _ in found))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--stay-silent"]:
        asyncio.run(stay_silent(sys.argv[2], int(sys.argv[3])))
    else:
        main()
