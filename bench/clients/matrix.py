#!/usr/bin/python3
"""Calls that clients of several languages lose, with default settings, while a daemon is changed under
them, directly and behind proxies.

    ./dev clients [--count 5] [--changes restart …] [--clients go …] [--paths direct …] …

A row is one client, of 16 callers on one connection or on 16 of their own, with or without gRPC's
client-side health checking where its library has it, by one path, and one kind of change, so many
times. "sparse": each caller pauses for up to 400 ms between its calls, otherwise it does not. "stream":
its calls are streams of 20 messages, each answered by one, of the clients that have them.

  restart  lastcallctl restart: a new incarnation of an unchanged process
  plugin   lastcallctl reload after the plugin's file was replaced
  itself   lastcallctl reload after lastcalld's own file was replaced, which it executes in place
  term     SIGTERM of one of two daemons behind a proxy and its start anew, by turns

With --starve or --starve-threads, of one daemon and no proxy, as loss.py has them.

A client is a program: CLIENT TARGET CALLERS CONNECTIONS PAUSE_MS SERVICE_CONFIG [stream]. It prints
"connected" when all its connections are, calls Echo.Unary, or Echo.Bidi, until its standard input ends,
and prints the calls and the lost ones by status, as JSON.
"""

import argparse
import collections
import contextlib
import glob
import itertools
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE.parent)]

from harness import BIN, BUILD, Daemon  # noqa: E402
from loss import Lastcall, add_starve  # noqa: E402
from proxies import Direct, HAProxy, Nginx, NginxKeepalive, free_port  # noqa: E402

CALLERS = 16
SPARSE_MS = 400
HEALTH = json.dumps({"loadBalancingConfig": [{"round_robin": {}}],
                     "healthCheckConfig": {"serviceName": "lastcall.example.Echo"}})
JARS = ":".join(jar for name in ("grpc-*", "guava", "netty-*", "perfmark-api")
                for jar in glob.glob(f"/usr/share/java/{name}.jar"))
BUILT = BUILD.parent / "clients"  # by ./dev clients


def cpp(target, callers, connections, pause_ms, service_config, kind="unary"):
    more = ["--service-config", service_config] if service_config else []
    kind = "sparse" if pause_ms else kind
    call_ms = 1 if kind == "stream" else 0
    return [BIN / "loss_client", target, callers, kind, call_ms, "--connections", connections, *more]


def program(*command):
    return lambda *arguments: [*command, *arguments]


CLIENTS = {
    "cpp": cpp,
    "python": program("/usr/bin/python3", HERE / "sync.py"),
    "asyncio": program("/usr/bin/python3", HERE / "aio.py"),
    "ruby": program("ruby", HERE / "ruby.rb"),
    "node": program("node", HERE / "node.js"),
    "go": program(BUILT / "go"),
    "java": program("java", "-cp", f"{JARS}:{BUILT}", "Client"),
}
# The library of Java has it in a part that Debian leaves out; that of Node has none.
CHECK_HEALTH = {"cpp", "python", "asyncio", "ruby", "go"}
HAS_STREAMS = {"cpp", "node", "go"}
PATHS = {"direct": Direct, "haproxy": HAProxy, "nginx": Nginx, "nginx-keepalive": NginxKeepalive}


class One:
    """A daemon that changes what it runs."""

    def __init__(self, change):
        self.lastcall = Lastcall("tcp", change)

    def __enter__(self):
        self.lastcall.__enter__()
        return self

    def __exit__(self, *_):
        self.lastcall.__exit__()

    def addresses(self):
        return [self.lastcall.address()]

    def daemon(self):
        return self.lastcall.daemon

    def change(self, _):
        self.lastcall.replace()


class Two:
    """Daemons of which one stops and starts again."""

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        self.daemons = collections.deque(
            self.stack.enter_context(Daemon(
                servers={"public": {"listen": [f"127.0.0.1:{free_port()}"]}},
                # More than HAProxy needs to notice: see its configuration.
                shutdown={"delay": "3s"}, log={"level": "info"}))
            for _ in range(2))
        return self

    def __exit__(self, *_):
        self.stack.close()

    def addresses(self):
        return [each.address() for each in self.daemons]

    def change(self, path):
        daemon = self.daemons[0]
        daemon.signal(signal.SIGTERM)
        code = daemon.wait()
        assert code == 0, f"exit code {code}"
        daemon.start()
        daemon.ctl("--timeout", "30s", "wait", "serving", check=True)
        path.await_servers()
        self.daemons.rotate(1)


def run(row, count, starve=None):
    """What the client of the row says of its calls."""
    subject = Two() if row.change == "term" else One(row.change)
    with subject, PATHS[row.path](subject.addresses()) as path:
        command = CLIENTS[row.client](path.address, CALLERS, row.connections,
                                      SPARSE_MS if row.load == "sparse" else 0,
                                      HEALTH if row.health else "",
                                      *(["stream"] if row.load == "stream" else []))
        client = subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True,
                                  env={**os.environ, "GRPC_VERBOSITY": "NONE"})
        try:
            if client.stdout.readline() != "connected\n":
                return {"calls": 0, "lost": {"the client does not connect": 1}}
            with (starve(client, subject.daemon()) if starve
                  else contextlib.nullcontext()) as starved:
                for _ in range(count):
                    time.sleep(0.3)  # of calls that meet no change
                    if starved:
                        starved.turn()
                    subject.change(path)
            time.sleep(0.3)
            return json.loads(client.communicate(timeout=60)[0])
        except subprocess.TimeoutExpired:
            return {"calls": 0, "lost": {"the client does not end": 1}}
        finally:
            client.kill()
            client.wait()


Row = collections.namedtuple("Row", "change path load client connections health")


def rows(args):
    for row in itertools.starmap(Row, itertools.product(
            args.changes, args.paths, args.loads, args.clients, args.connections, args.health)):
        if row.change == "term" and row.path == "direct":
            continue  # nobody else is there
        if row.health and (row.client not in CHECK_HEALTH or row.path != "direct"):
            continue  # a proxy answers for all of its servers
        if row.load == "stream" and row.client not in HAS_STREAMS:
            continue
        if args.starve and (row.change == "term" or row.path != "direct"):
            continue
        yield row


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)

    def choice(name, every, default):
        parser.add_argument(name, nargs="+", choices=every, default=default, type=type(every[0]))

    choice("--changes", ["restart", "plugin", "itself", "term"], ["restart"])
    choice("--paths", list(PATHS), list(PATHS))
    choice("--clients", list(CLIENTS), list(CLIENTS))
    choice("--connections", [1, CALLERS], [1, CALLERS])
    choice("--loads", ["busy", "sparse", "stream"], ["busy"])
    choice("--health", [0, 1], [0, 1])
    parser.add_argument("--count", type=int, default=5, help="changes of a row")
    add_starve(parser)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    total = collections.Counter()
    if not args.json:
        print(f"{'change':8} {'path':15} {'load':6} {'client':8} {'conn.':>5} {'health':6} {'calls':>7} "
              f"{'changes':>7} {'lost':>5}")
    for row in rows(args):
        result = run(row, args.count, args.starve)
        lost = sum(result["lost"].values())
        total[row.change, row.path, "changes"] += args.count
        total[row.change, row.path, "calls"] += result["calls"]
        total[row.change, row.path, "lost"] += lost
        if args.json:
            print(json.dumps({**row._asdict(), "changes": args.count, **result}), flush=True)
            continue
        print(f"{row.change:8} {row.path:15} {row.load:6} {row.client:8} {row.connections:5} "
              f"{'yes' if row.health else 'no':6} {result['calls']:7} {args.count:7} {lost:5}",
              flush=True)
        for status, count in result["lost"].items():
            print(f"           {count} × {status[:160]}", flush=True)
    if not args.json:
        for (change, path, kind), value in list(total.items()):
            if kind == "changes":
                print(f"{change}, {path}: {total[change, path, 'lost']} of "
                      f"{total[change, path, 'calls']} calls lost in {value} changes")


if __name__ == "__main__":
    sys.exit(main())
