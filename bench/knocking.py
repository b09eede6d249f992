#!/usr/bin/python3
"""What an operator waits for while a stranger's processes connect to the admin socket in a loop.

    PYTHONPATH=build/release/python:tests/process LASTCALL_BUILD=build/release bench/knocking.py [COMMANDS [PROCESSES]]

As root, for it becomes other users. Each row: so many commands one after another, by an operator who is
neither root nor the daemon's user.

quiet      nobody else is there
closes     the processes close immediately what they opened
holds      each holds its last 16 connections, so that there are always more than it may have
"""

import contextlib
import grp
import shutil
import statistics
import sys
import time

from harness import BIN, Daemon, run
from knocking_test import MALLORY, OPERATORS, knocking

OPERATOR = 12346


def measure(held, commands, processes):
    with contextlib.ExitStack() as stack:
        daemon = stack.enter_context(Daemon(admin={"operators": [OPERATORS]}, log={"level": "info"}))
        daemon.folder.chmod(0o755)
        program = shutil.copy(BIN / "lastcallctl", daemon.folder)
        if held:
            stack.enter_context(knocking(daemon.socket, processes, MALLORY, held))
        took, failed = [], 0
        for _ in range(commands):
            began = time.monotonic()
            done = run(program, "--socket", daemon.socket, "status", user=OPERATOR, group=OPERATOR,
                       extra_groups=[grp.getgrnam(OPERATORS).gr_gid])
            took.append(1e3 * (time.monotonic() - began))
            failed += done.returncode != 0
        return failed, sorted(took)


def main(commands, processes):
    print(f"{'ms':8} {'failed':>8} {'median':>8} {'p99':>8} {'max':>8}   of {commands}, "
          f"{processes} processes")
    for name, held in (("quiet", 0), ("closes", 1), ("holds", 16)):
        failed, took = measure(held, commands, processes)
        p99 = took[min(len(took) - 1, int(0.99 * len(took)))]
        print(f"{name:8} {failed:8} {statistics.median(took):8.0f} {p99:8.0f} {took[-1]:8.0f}",
              flush=True)


if __name__ == "__main__":
    main(*[int(each) for each in sys.argv[1:]] + [200, 6][len(sys.argv) - 1:])
