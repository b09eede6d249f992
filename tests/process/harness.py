"""A daemon to test with: started for real, on free ports and in a folder of its own.

    with Daemon(servers={"public": {}}) as daemon:
        echo = daemon.echo()
        echo.Unary(EchoRequest(text="hi"))
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import grpc

import echo_pb2
import echo_pb2_grpc
from grpc_stubs.health.v1 import health_pb2

BUILD = pathlib.Path(os.environ["LASTCALL_BUILD"])
BIN = BUILD / "bin"
PLUGINS = BUILD / "plugins"
SANITIZED = bool(os.environ.get("LASTCALL_SANITIZE"))

# How late a planned instant may be noticed on a busy machine, in seconds.
SLACK = 2.0
# How long anything at all may take before a test gives up.
PATIENCE = 60.0


def toml(value):
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml(each) for each in value) + "]"
    return json.dumps(value) if isinstance(value, str) else str(value)


def sections(prefix, table):
    """Lines of a table and, after its values, of the tables within it."""
    lines = [f"[{prefix}]"] if prefix else []
    lines += [f"{key} = {toml(value)}" for key, value in table.items() if not isinstance(value, dict)]
    for key, value in table.items():
        if isinstance(value, dict):
            lines += sections(f"{prefix}.{key}" if prefix else key, value)
    return lines


def wait_until(condition, what, timeout=PATIENCE):
    """Waits for something that only a look from outside can tell."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"not within {timeout} s: {what}")


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid):
    """The living processes whose parent is `pid`."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError):
            if (entry / "stat").read_text().rsplit(")", 1)[1].split()[1] == str(pid):
                found.append(int(entry.name))
    return found


class Daemon:
    """One lastcalld. `servers`: by name, what their section says over the defaults below."""

    def __init__(self, servers=None, wait=True, env=None, **config):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lastcall-test-"))
        self.socket = self.folder / "admin.sock"
        self.config = self.folder / "lastcalld.toml"
        self.env = {**os.environ, **(env or {})}
        self.wait_serving = wait
        self.hosts = set()
        self.write_config(servers or {"public": {}}, config)

    def write_config(self, servers, config):
        table = {
            "plugin_dir": str(PLUGINS),
            "state_dir": str(self.folder / "state"),
            "shutdown": {"delay": "0s", "grace": "20s", "cancel": "5s"},
            "admin": {"socket": str(self.socket)},
            "log": {"level": "debug"},
        }
        for key, value in config.items():
            table[key] = {**table.get(key, {}), **value} if isinstance(value, dict) else value
        table["server"] = {
            name: {
                "listen": ["127.0.0.1:0", f"unix:{self.folder}/{name}.sock"],
                "plugins": ["echo"],
                "reflection": True,
                **server,
            }
            for name, server in servers.items()
        }
        self.config.write_text("\n".join(sections("", table)) + "\n", encoding="utf-8")

    def __enter__(self):
        self.start()
        if self.wait_serving:
            try:
                self.ctl("--timeout", "30s", "wait", "serving", check=True)
            except Exception:
                print(self.log())
                self.__exit__()
                raise
            self.note_hosts()
        return self

    def start(self):
        self.log_file = open(self.folder / "log", "ab")  # closed with the daemon
        self.process = subprocess.Popen(
            [BIN / "lastcalld", "--config", self.config],
            stdin=subprocess.DEVNULL, stdout=self.log_file, stderr=self.log_file, env=self.env)
        self.pid = self.process.pid

    def __exit__(self, *_):
        self.note_hosts()
        for pid in {self.pid, *self.hosts}:
            if alive(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
                    os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.log_file.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def note_hosts(self):
        """Remembers the children that there are, to see later that they are gone."""
        self.hosts |= set(children(self.pid))
        return self.hosts

    # What a user does.

    def ctl(self, *args, check=False, timeout=PATIENCE):
        done = subprocess.run(
            [BIN / "lastcallctl", "--socket", self.socket, *map(str, args)],
            capture_output=True, text=True, timeout=timeout, check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"lastcallctl {args}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def json(self, *args):
        return json.loads(self.ctl("--json", *args).stdout)

    def status(self):
        return self.json("status")

    def server(self, name="public"):
        return next(each for each in self.status()["servers"] if each["name"] == name)

    def process_pid(self, name="main"):
        return next(each["pid"] for each in self.status()["processes"] if each["name"] == name)

    def address(self, name="public", kind="tcp"):
        for address in self.server(name)["listen"]:
            if address.startswith("unix:") == (kind == "unix"):
                return address
        raise AssertionError(f"server {name} has no {kind} address")

    def channel(self, name="public", kind="tcp", options=()):
        # A channel of its own: grpcio shares connections between equal ones.
        return grpc.insecure_channel(
            self.address(name, kind), options=(("grpc.use_local_subchannel_pool", 1), *options))

    def echo(self, **kwargs):
        return echo_pb2_grpc.EchoStub(self.channel(**kwargs))

    def signal(self, number):
        os.kill(self.pid, number)

    def wait(self, timeout=PATIENCE):
        """The exit code; negative: the signal that ended it."""
        return self.process.wait(timeout)

    # What is left to read.

    def log(self):
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def receipt(self):
        return json.loads((self.folder / "state" / "receipt.json").read_text(encoding="utf-8"))

    def assert_nothing_left(self):
        wait_until(lambda: not any(alive(pid) for pid in self.hosts), "every host is gone", 5)
        left = [path.name for path in self.folder.glob("*.sock*")]
        assert not left, f"sockets left behind: {left}"


class Health:
    """grpc.health.v1 without stubs, whose module would hide grpcio."""

    def __init__(self, channel):
        def method(kind, name, request, reply):
            return getattr(channel, kind)(
                f"/grpc.health.v1.Health/{name}",
                request_serializer=request.SerializeToString, response_deserializer=reply.FromString)

        check = (health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse)
        self._check = method("unary_unary", "Check", *check)
        self._watch = method("unary_stream", "Watch", *check)
        self._list = method("unary_unary", "List",
                            health_pb2.HealthListRequest, health_pb2.HealthListResponse)

    @staticmethod
    def _name(response):
        return health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)

    def check(self, service=""):
        return self._name(self._check(health_pb2.HealthCheckRequest(service=service), timeout=10))

    def watch(self, service="", timeout=PATIENCE):
        """An iterator over names of statuses."""
        stream = self._watch(health_pb2.HealthCheckRequest(service=service), timeout=timeout)
        return map(self._name, stream)

    def list(self):
        reply = self._list(health_pb2.HealthListRequest(), timeout=10)
        return {service: self._name(status) for service, status in reply.statuses.items()}


class Busy:
    """Calls Unary without a pause in threads of its own; counts what became of the calls."""

    def __init__(self, daemon, threads=2, **kwargs):
        self.daemon = daemon
        self.ok = []      # when each good answer came
        self.failed = []  # (when, code, details)
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(daemon.channel(**kwargs),))
                        for _ in range(threads)]

    def _run(self, channel):
        echo = echo_pb2_grpc.EchoStub(channel)
        while not self.ending.is_set():
            try:
                echo.Unary(echo_pb2.EchoRequest(text="busy"), timeout=30)
                self.ok.append(time.monotonic())
            except grpc.RpcError as error:
                self.failed.append((time.monotonic(), error.code(), error.details()))
                time.sleep(0.01)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        wait_until(lambda: self.ok, "the first busy call is answered")
        return self

    def __exit__(self, *_):
        self.ending.set()
        for thread in self.threads:
            thread.join()
