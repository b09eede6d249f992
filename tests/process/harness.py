"""A daemon to test with: started for real, on free ports and in a folder of its own.

    with Daemon(servers={"public": {}}) as daemon:
        echo = daemon.echo()
        echo.Unary(EchoRequest(text="hi"))
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
"""

import atexit
import contextlib
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

import grpc

import echo_pb2
import echo_pb2_grpc
from clients import PATIENCE, SANITIZED, Call, Held, wait_until, word
from lastcall.admin.v1 import admin_pb2, admin_pb2_grpc


def trusted(path):
    """Whether lastcalld would run what is there: see lastcall/base/trust.h."""
    for each in (path, *path.parents):
        status = each.stat()
        sticky = each.is_dir() and status.st_mode & 0o1000 and status.st_uid == 0
        if status.st_uid not in (0, os.geteuid()) or (status.st_mode & 0o022 and not sticky):
            return False
    return True


def reachable(path):
    """Whether other users can get there, for tests in which root becomes one."""
    return os.geteuid() != 0 or all(each.stat().st_mode & 0o001 for each in path.parents)


def built(build):
    """The build; a copy of what is run where somebody else could change the original, or cannot
    get to it.

    As root in a user's checkout, in root's own home, or in a checkout that everybody may write, as
    some build servers have it.
    """
    names = [f"bin/{name}" for name in ("lastcalld", "lastcall-host", "lastcallctl")]
    names += [str(path.relative_to(build)) for folder in ("plugins", "tests/plugins")
              for path in (build / folder).glob("*.so")]
    if all(trusted(build / name) and reachable(build / name) for name in names):
        return build
    copy = pathlib.Path(tempfile.mkdtemp(prefix="lastcall-built-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    copy.chmod(0o755)  # for tests that become other users
    for name in names:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(build / name, copy / name)
        (copy / name).chmod(0o755)
    for name in ("LSAN_OPTIONS", "TSAN_OPTIONS"):  # a sanitizer ends who cannot read them
        for given in re.findall(r"\bsuppressions=([^:]+)", os.environ.get(name, "")):
            shutil.copyfile(given, copy / name)
            (copy / name).chmod(0o644)
            os.environ[name] = os.environ[name].replace(given, str(copy / name))
    return copy


# What lastcalld is given may be written by nobody else, whatever the shell says.
os.umask(0o022)

BUILD = built(pathlib.Path(os.environ["LASTCALL_BUILD"]).resolve())
BIN = BUILD / "bin"
PLUGINS = BUILD / "plugins"

# Tests crash processes on purpose.
resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


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
    lines += [f"{key} = {toml(value)}" for key, value in table.items()
              if not isinstance(value, dict)]
    for key, value in table.items():
        if isinstance(value, dict):
            key = key if re.fullmatch(r"[\w.-]+", key) else json.dumps(key)
            lines += sections(f"{prefix}.{key}" if prefix else key, value)
    return lines


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def writes_log(pid):
    """Whether the thread of its log has something to write: it sleeps, or is stopped, where not."""
    with contextlib.suppress(OSError):
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            name, _, rest = (task / "stat").read_text(encoding="utf-8",
                                                      errors="replace").rpartition(")")
            if name.endswith("(lastcall-log") and rest.split()[0] not in "STtZX":
                return True
    return False


def environment_of(pid):
    """The variables that a process was started with."""
    with open(f"/proc/{pid}/environ", "rb") as environ:
        entries = environ.read().split(b"\0")
    return dict(os.fsdecode(entry).partition("=")[::2] for entry in entries if entry)


def run(*command, **kwargs):
    """A program that ends by itself, with what it said."""
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False,
                          timeout=PATIENCE, **kwargs)


def need_root():
    """Skips the test where it cannot become other users, nor give files to them."""
    if os.getuid() != 0:
        raise unittest.SkipTest("only root can become another user")


def nobody():
    """For subprocess: as a user without rights. Skips the test where that cannot be had."""
    need_root()
    other = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    with contextlib.suppress(OSError):
        if run(BIN / "lastcallctl", "--version", **other).returncode == 0:
            return other
    raise unittest.SkipTest("others may not run what was built here")


class Daemon:
    """One lastcalld.

    servers: by name, what their section says over the defaults below.
    args: of the command line, instead of a configuration.
    env: what its environment has besides ours; None takes a variable away.
    spawn: more for subprocess.Popen.
    """

    # In the environment of the daemon and whatever it starts: tells them from everybody else's.
    MARK = "LASTCALL_TEST_FOLDER"

    def __init__(self, servers=None, wait=True, env=None, args=None, spawn=None, **config):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lastcall-test-"))
        self.socket = self.folder / "admin.sock"
        self.config = self.folder / "lastcalld.toml"
        self.args = args or ["--config", str(self.config)]
        self.program = BIN / "lastcalld"
        self.spawn = spawn or {}
        self.wait_serving = wait
        self.process = None
        self.log_file = None
        self.pid = 0
        merged = {**os.environ, **self.sanitizers(), self.MARK: str(self.folder), **(env or {})}
        self.env = {key: value for key, value in merged.items() if value is not None}
        self.write_config(servers or {"public": {}}, config)

    def sanitizers(self):
        """Reports go to files, so that none is missed; a crash stays a crash, not an exit."""
        if not SANITIZED:
            return {}
        ours = f"handle_segv=0:handle_sigbus=0:log_path={self.folder}/sanitizer"
        return {name: f"{os.environ.get(name, '')}:{ours}"
                for name in ("ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS")}

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
                self.__exit__(None)
                raise
        return self

    def start(self):
        if self.log_file:
            self.log_file.close()
        self.log_file = open(self.folder / "log", "ab")  # closed with the daemon
        self.process = subprocess.Popen(
            [self.program, *self.args], env=self.env,
            **{"stdin": subprocess.DEVNULL, "stdout": self.log_file, "stderr": self.log_file,
               **self.spawn})
        self.pid = self.process.pid

    def __exit__(self, kind=None, *_):
        if kind is not None:
            sys.stderr.write(self.log()[-20_000:])
        # Stopped ones too; again, for a supervisor may just be starting another host.
        killed = set()
        for _ in range(3):
            for pid in self.processes():
                killed.add(pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.log_file.close()
        # Who was killed while a sanitizer looked at its end leaves the beginning of a report, of nothing.
        reports = [text for path in self.folder.glob("sanitizer.*")
                   for text in [path.read_text(errors="replace")]
                   if "SUMMARY: " in text or int(path.suffix[1:]) not in killed]
        # The one for undefined behaviour knows no files.
        reports += [self.log()] if "runtime error: " in self.log() else []
        shutil.rmtree(self.folder, ignore_errors=True)
        if reports:
            raise AssertionError("\n".join(reports))

    def processes(self):
        """Every living process of this daemon: itself and its hosts, orphans too."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                pid = int(entry.name)
                if environment_of(pid).get(self.MARK) == str(self.folder) and alive(pid):
                    found.append(pid)
        return found

    def hosts(self):
        return [pid for pid in self.processes() if pid != self.pid]

    # What a user does.

    def ctl_command(self, *args):
        return [str(BIN / "lastcallctl"), "--socket", str(self.socket), *map(str, args)]

    def ctl(self, *args, check=False, **kwargs):
        done = run(*self.ctl_command(*args), **kwargs)
        if check and done.returncode != 0:
            said = done.stdout + done.stderr
            raise AssertionError(f"lastcallctl {args}: exit {done.returncode}\n{said}")
        return done

    def json(self, *args):
        return json.loads(self.ctl("--json", *args).stdout)

    def admin(self):
        """Stubs of the admin service, for what lastcallctl would be too slow."""
        channel = grpc.insecure_channel(
            f"unix:{self.socket}", options=(("grpc.use_local_subchannel_pool", 1),))
        return admin_pb2_grpc.AdminStub(channel)

    def status(self):
        return self.admin().GetStatus(admin_pb2.GetStatusRequest(), timeout=10).status

    def server(self, name="public"):
        return next(each for each in self.status().servers if each.name == name)

    def process_status(self, name="main"):
        return next(each for each in self.status().processes if each.name == name)

    def current_stage(self):
        return word(self.status())

    def process_stage(self, name="main"):
        return word(self.process_status(name))

    def process_pid(self, name="main"):
        return self.process_status(name).pid

    def address(self, name="public", kind="tcp"):
        for address in self.server(name).listen:
            if address.startswith("unix:") == (kind == "unix"):
                return address
        raise AssertionError(f"server {name} has no {kind} address")

    def channel(self, name="public", kind="tcp", options=()):
        # A channel of its own: grpcio shares connections between equal ones.
        return grpc.insecure_channel(
            self.address(name, kind), options=(("grpc.use_local_subchannel_pool", 1), *options))

    def echo(self, **kwargs):
        return echo_pb2_grpc.EchoStub(self.channel(**kwargs))

    def slow(self, seconds, leave=False, method="Slow", **kwargs):
        """Begins a call that takes so long; `leave`: it ends early when told to."""
        request = echo_pb2.SlowRequest(delay_ms=int(seconds * 1000))
        if leave:
            request.on_leave = echo_pb2.SlowRequest.FINISH_EARLY
        return Call(getattr(self.echo(**kwargs), method), request)

    def held(self, **kwargs):
        """Begins a call that its handler has, and that goes on until it is told to finish()."""
        call = Held(self.echo(**kwargs).ClientStream, echo_pb2.EchoRequest(text="held"))
        self.await_calls(1, "ClientStream", kwargs.get("name", "public"))
        return call

    def await_calls(self, count, method="Slow", name="public"):
        """Waits until so many calls of the method are with their handlers."""
        def there():
            return sum(each.in_flight for each in self.server(name).methods
                       if each.name.endswith("/" + method)) == count
        wait_until(there, f"{count} calls of {method} are in flight")

    def signal(self, number):
        os.kill(self.pid, number)

    def wait(self, timeout=PATIENCE):
        """The exit code; negative: the signal that ended it."""
        return self.process.wait(timeout)

    # What is left to read.

    def log(self):
        """Everything that was said so far: it is written by threads of its own."""
        wait_until(lambda: not any(map(writes_log, self.processes())), "the log is written")
        return self.written()

    def written(self):
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def wait_log(self, text):
        wait_until(lambda: text in self.written(), f"the log says {text!r}")

    def receipt(self):
        return json.loads((self.folder / "state" / "receipt.json").read_text(encoding="utf-8"))

    def stage(self, name):
        """What the receipt says of a stage; None: it was none of this shutdown's."""
        return next((each for each in self.receipt()["stages"] if each["stage"] == name), None)

    def assert_nothing_left(self):
        wait_until(lambda: not self.processes(), "every process is gone", 5)
        left = [path.name for path in self.folder.rglob("*.sock*")]
        assert not left, f"sockets left behind: {left}"
