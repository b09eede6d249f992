#!/usr/bin/python3
"""What a hundred waiting threads cost a Python program, and how soon they are awake.

    PYTHONPATH=build/release/python bench/python_wait.py [ROUNDS]

speed    how fast another Python thread runs beside 100 waiters, against none in the same run (the
         best of each): on a Lifecycle, a threading.Event, grpcio's Server.wait_for_termination
cpu      CPU that 100 waiters take in a second, and their voluntary context switches
awake    from kill() to the last of 1 and 100 threads, and of 1,000 coroutines, in Python again
exit     from SIGTERM to the end of an idle program
"""

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from concurrent import futures

import grpc

import lastcall

WAITERS = 100


def rate(seconds=0.5):
    count, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        count += 1
    return count / seconds


def started(wait, threads):
    made = [threading.Thread(target=wait, daemon=True) for _ in range(threads)]
    for thread in made:
        thread.start()
    time.sleep(0.2)
    return made


def cost(wait, rounds):
    """The speed beside waiters as a share of that without, CPU seconds a second, and switches."""
    rate()  # warms up the interpreter
    without = [rate() for _ in range(rounds)]
    threads = started(wait, WAITERS)
    beside = [rate() for _ in range(rounds)]

    def switches():
        total = 0
        for thread in threads:
            with open(f"/proc/self/task/{thread.native_id}/status", encoding="ascii") as status:
                line = next(line for line in status if line.startswith("voluntary"))
                total += int(line.split()[1])
        return total

    before, cpu = switches(), time.process_time()
    time.sleep(2)
    cpu, switched = time.process_time() - cpu, switches() - before
    return max(beside) / max(without), cpu / 2, switched / 2


def costs(kind, rounds):
    """In a process of its own, for the waiters of grpcio are never released."""
    if kind == "lastcall":
        with lastcall.Lifecycle() as life:
            return cost(life.wait_for_termination, rounds)
    if kind == "threading.Event":
        return cost(threading.Event().wait, rounds)
    server = grpc.server(futures.ThreadPoolExecutor(1))
    server.start()
    return cost(server.wait_for_termination, rounds)


def awake_threads(threads):
    awake = []
    with lastcall.Lifecycle() as life:
        def wait():
            life.event("grace").wait()
            awake.append(time.monotonic())

        made = started(wait, threads)
        began = time.monotonic()
        os.kill(os.getpid(), signal.SIGTERM)
        for thread in made:
            thread.join()
    return max(awake) - began


def awake_coroutines(coroutines):
    async def main(life):
        async def wait():
            await life.event("grace")
            return time.monotonic()

        tasks = [asyncio.create_task(wait()) for _ in range(coroutines)]
        await asyncio.sleep(0.05)
        began = time.monotonic()
        os.kill(os.getpid(), signal.SIGTERM)
        return max(await asyncio.gather(*tasks)) - began

    with lastcall.Lifecycle() as life:
        return asyncio.run(main(life))


def exit_of_idle():
    text = ("import lastcall\nwith lastcall.Lifecycle() as life:\n"
            "    print('ready', flush=True)\n    life.wait_for_termination()")
    program = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE)
    program.stdout.readline()
    began = time.monotonic()
    program.terminate()
    program.wait()
    program.stdout.close()
    return time.monotonic() - began


def ms(values):
    return f"median {statistics.median(values) * 1e3:.2f} ms, worst {max(values) * 1e3:.2f} ms"


def main():
    if len(sys.argv) > 2:
        print(*costs(sys.argv[1], int(sys.argv[2])))
        os._exit(0)  # grpcio's waiters would hold the end
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    for kind in ("lastcall", "threading.Event", "grpcio"):
        done = subprocess.run([sys.executable, __file__, kind, str(rounds)], check=True,
                              capture_output=True, text=True)
        speed, cpu, switched = map(float, done.stdout.split())
        print(f"{WAITERS} waiters, {kind}: another thread at {speed:.0%} of its speed; "
              f"{cpu * 1e3:.1f} ms CPU and {switched:.0f} switches a second")
    for threads in (1, WAITERS):
        print(f"awake, {threads} threads:", ms([awake_threads(threads) for _ in range(rounds)]))
    print("awake, 1000 coroutines:", ms([awake_coroutines(1000) for _ in range(rounds)]))
    print("exit of an idle program:", ms([exit_of_idle() for _ in range(rounds)]))


if __name__ == "__main__":
    main()
