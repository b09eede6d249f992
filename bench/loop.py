#!/usr/bin/python3
"""How soon the loop of lastcalld hears somebody while a reload waits: until `status` is answered, and
from SIGTERM until the log has it. Beside an idle daemon, asked in turns.

    PYTHONPATH=build/release/python:tests/process LASTCALL_BUILD=build/release bench/loop.py \\
        [--rounds 5] [--asks 20] [ROW…]

One row for each step of a reload, which does not end (see tests/process/slow_files_test.py), and:

each read      every read of a file takes 500 ms
2 GB           two plugins of 1 GiB are read
5,000 servers  a trial run of a megabyte of configuration, from its beginning to its end
"""

import argparse
import contextlib
import os
import pathlib
import signal
import statistics
import subprocess
import time

from clients import PATIENCE, wait_until
from harness import sections
from lastcall.admin.v1 import admin_pb2
from slow_files_test import STEPS, Slow

GIB = 1 << 30


def until_status(admin):
    began = time.monotonic()
    admin.GetStatus(admin_pb2.GetStatusRequest(), timeout=PATIENCE)
    return time.monotonic() - began


def until_heard(daemon):
    """SIGTERM is in the log."""
    with open(daemon.folder / "log", "rb") as log:
        log.seek(0, os.SEEK_END)
        said = b""
        began = time.monotonic()
        daemon.signal(signal.SIGTERM)
        while b"SIGTERM" not in said:
            said += log.read()
        return time.monotonic() - began


@contextlib.contextmanager
def begun(daemon, *args):
    """A reload of which nobody tells where it is."""
    asked = subprocess.Popen(daemon.ctl_command("--timeout", "5m", *args),
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        yield asked
    finally:
        asked.communicate(timeout=300)


@contextlib.contextmanager
def each_read(daemon):
    (daemon.slow_folder / "each").write_text("500")
    with begun(daemon, "reload") as asked:
        wait_until(lambda: "reload" in daemon.written(), "it has begun")
        yield asked


def bytes_read(daemon):
    return int(pathlib.Path(f"/proc/{daemon.pid}/io").read_text().split()[1])


@contextlib.contextmanager
def two_gigabytes(daemon):
    content = daemon.plugin.read_bytes()
    for name in ("echo", "more"):
        with open(daemon.plugin.with_suffix(".new"), "wb") as new:
            new.write(content)
            new.truncate(GIB)  # what is behind is a hole
        daemon.plugin.with_suffix(".new").rename(daemon.plugin.with_name(f"{name}.so"))
    more = {"plugins": ["more"], "listen": ["127.0.0.1:0"], "process": "more"}
    with open(daemon.config, "a", encoding="utf-8") as config:
        config.write("\n" + "\n".join(sections("server.more", more)) + "\n")
    before = bytes_read(daemon)
    with begun(daemon, "reload") as asked:
        wait_until(lambda: bytes_read(daemon) > before + (64 << 20), "it reads them")
        yield asked


@contextlib.contextmanager
def many_servers(daemon):
    text = []
    for i in range(5000):
        text += sections(f"server.s{i}", {
            "plugins": ["echo"], "listen": [f"unix:{daemon.folder}/{i}.sock"],
            "process": f"p{i % 10}", "limits": {"connections": 100, "streams": 10},
            "config": {"echo": {"greeting": "x" * 60}}})
    with open(daemon.config, "a", encoding="utf-8") as config:
        config.write("\n" + "\n".join(text) + "\n")
    with begun(daemon, "reload", "--dry-run") as asked:
        yield asked


@contextlib.contextmanager
def waits_at(step, daemon):
    with daemon.closed_at(step), daemon.asking("reload") as asked:
        yield asked


def rows():
    found = {step: lambda daemon, step=step: waits_at(step, daemon) for step in STEPS}
    found["each read"] = each_read
    found["2 GB"] = two_gigabytes
    found["5,000 servers"] = many_servers
    return found


class Figures:
    def __init__(self):
        self.asked, self.heard = [], []

    def row(self, name, who):
        columns = ""
        for some in (self.asked, self.heard):
            columns += (f"{1e3 * statistics.median(some):9.1f} {1e3 * max(some):8.1f}" if some
                        else f"{'-':>9} {'-':>8}")
        print(f"{name:14} {who:6} {columns}", flush=True)


def measure(name, waits, asks):
    """One round: figures of the daemon that waits and of the idle one, added to theirs."""
    busy, idle = Figures(), Figures()
    long = {"ready": "5m"}
    with Slow(reload=long) as resting, Slow(reload=long) as daemon:
        admins = ((daemon.admin(), busy), (resting.admin(), idle))
        for admin, _ in admins:
            until_status(admin)  # connects
        with waits(daemon) as asked:
            if name == "5,000 servers":
                while asked.poll() is None:
                    for admin, figures in admins:
                        figures.asked.append(until_status(admin))
                assert asked.returncode == 0, asked.stderr.read()
                return busy, idle
            for _ in range(asks):
                for admin, figures in admins:
                    figures.asked.append(until_status(admin))
            assert asked.poll() is None, "the reload is over"
            busy.heard.append(until_heard(daemon))
            daemon.wait()
        idle.heard.append(until_heard(resting))
        resting.wait()
    return busy, idle


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--asks", type=int, default=20)
    parser.add_argument("rows", nargs="*", metavar="ROW")
    args = parser.parse_args()
    print(f"{'ms':21} {'status':>9} {'worst':>8}{'SIGTERM':>9} {'worst':>8}   of {args.rounds}")
    for name, waits in rows().items():
        if args.rows and name not in args.rows:
            continue
        busy, idle = Figures(), Figures()
        for _ in range(args.rounds):
            for all_of_it, one in zip((busy, idle), measure(name, waits, args.asks)):
                all_of_it.asked += one.asked
                all_of_it.heard += one.heard
        busy.row(name, "waits")
        idle.row("", "idle")


if __name__ == "__main__":
    main()
