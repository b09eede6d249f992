"""Clients as tests need them: calls with the time they took, load, health, and an admin's view."""

import os
import threading
import time

import grpc

import echo_pb2
import echo_pb2_grpc
from grpc_stubs.health.v1 import health_pb2
from lastcall.admin.v1 import admin_pb2
from lastcall.v1 import word_pb2

SANITIZED = bool(os.environ.get("LASTCALL_SANITIZE"))

# How late a planned instant may be noticed on a busy machine, in seconds.
SLACK = 4.0 if SANITIZED else 2.0
# How long something may take there that has nothing to wait for.
AT_ONCE = 8.0 if SANITIZED else 2.0
# How long anything at all may take before a test gives up.
PATIENCE = 60.0


def wait_until(condition, what, timeout=PATIENCE):
    """Waits for something that only a look from outside can tell."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"not within {timeout} s: {what}")


class Call:
    """A unary call under way."""

    def __init__(self, method, request, timeout=PATIENCE):
        self.began = time.monotonic()
        self.ended = None
        self._over = threading.Event()
        self._future = method.future(request, timeout=timeout)
        self._future.add_done_callback(self._end)

    def _end(self, _):
        self.ended = time.monotonic()
        self._over.set()

    def over(self):
        return self._over.is_set()

    def wait(self):
        assert self._over.wait(PATIENCE), "the call does not end"
        return self

    def text(self):
        """What the answer says; fails with the call."""
        self.wait()
        return self._future.result().text

    def code(self):
        self.wait()
        return self._future.code()

    def details(self):
        self.wait()
        return self._future.details()


class Held(Call):
    """A call that is in flight until the test has it finish: a client stream."""

    def __init__(self, method, request):
        self._last = threading.Event()

        def requests():
            yield request
            self._last.wait(PATIENCE)
        super().__init__(method, requests())

    def finish(self):
        """What the answer says."""
        self._last.set()
        return self.text()


class Busy:
    """Calls Unary without a pause in threads of its own; counts what became of the calls."""

    def __init__(self, daemon, threads=2, **kwargs):
        self.ok = []      # when each good answer came
        self.failed = []  # (when the call began, code, details)
        self.pids = []    # who gave the good answers
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(daemon.channel(**kwargs),))
                        for _ in range(threads)]

    def _run(self, channel):
        echo = echo_pb2_grpc.EchoStub(channel)
        while not self.ending.is_set():
            began = time.monotonic()
            try:
                reply = echo.Unary(echo_pb2.EchoRequest(text="busy"), timeout=30)
                self.pids.append(reply.pid)
                self.ok.append(time.monotonic())
            except grpc.RpcError as error:
                self.failed.append((began, error.code(), error.details()))
                time.sleep(0.01)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        wait_until(lambda: self.ok, "the first busy call is answered")
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        """Returns when the last call is answered; before a stop, which refuses who comes anew."""
        self.ending.set()
        for thread in self.threads:
            thread.join()


class Health:
    """grpc.health.v1 without stubs, whose module would hide grpcio."""

    def __init__(self, channel):
        def method(kind, name, request, reply):
            return getattr(channel, kind)(
                f"/grpc.health.v1.Health/{name}",
                request_serializer=request.SerializeToString,
                response_deserializer=reply.FromString)

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


class Log:
    """What a stream says, with the time of each item; read in a thread of its own until it ends."""

    def __init__(self, stream):
        self.items = []  # (when, what)
        self.error = None  # how it ended, where not well
        self.ended = None  # when
        self._stream = stream
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        try:
            for item in self._stream:
                with self._changed:
                    self.items.append((time.monotonic(), item))
                    self._changed.notify_all()
        except grpc.RpcError as error:
            self.error = error
        with self._changed:
            self.ended = time.monotonic()
            self._ended = True
            self._changed.notify_all()

    def when(self, wanted):
        """When the first item came that is `wanted`, or for which it is true."""
        matches = wanted if callable(wanted) else lambda item: item == wanted

        def found():
            return [when for when, item in self.items if matches(item)]

        with self._changed:
            self._changed.wait_for(lambda: found() or self._ended, PATIENCE)
            assert found(), f"{wanted} did not come, but {[item for _, item in self.items]}"
            return found()[0]

    def wait_end(self):
        with self._changed:
            assert self._changed.wait_for(lambda: self._ended, PATIENCE), "the stream does not end"
        return self


def word(message, field="stage"):
    """What an enumeration of the message is called: "serving"."""
    values = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
    return values[getattr(message, field)].GetOptions().Extensions[word_pb2.word]


class Watch(Log):
    """The daemon's own stream of events. Whoever watches sees every stage begin."""

    def __init__(self, daemon):
        super().__init__(daemon.admin().Watch(admin_pb2.WatchRequest()))
        self.when(lambda event: event.HasField("status"))

    def stage(self, name):
        """When the daemon was first seen in the stage."""
        return self.when(lambda event: word(event.status) == name)

    def receipt(self):
        self.when(lambda event: event.HasField("receipt"))
        return self.items[-1][1].receipt
