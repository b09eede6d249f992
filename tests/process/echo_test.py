"""Debian's Python client against every method of echo, health and reflection, over tcp and unix."""

import unittest

import grpc

import callback_echo_pb2
import callback_echo_pb2_grpc
import echo_pb2_grpc
import reflection_pb2
import reflection_pb2_grpc
from clients import Health, wait_until
from echo_pb2 import EchoRequest, SlowRequest
from google.protobuf import descriptor_pb2
from harness import Daemon


class TcpTest(unittest.TestCase):
    kind = "tcp"

    @classmethod
    def setUpClass(cls):
        cls.daemon = cls.enterClassContext(Daemon(servers={
            "public": {"config": {"echo": {"greeting": "hello"}}},
            "callback": {"plugins": ["callback_echo"], "process": "callback"},
        }))

    def setUp(self):
        self.channel = self.daemon.channel(kind=self.kind)
        self.echo = echo_pb2_grpc.EchoStub(self.channel)

    def test_unary(self):
        reply = self.echo.Unary(EchoRequest(text="you"), timeout=10)
        self.assertEqual(reply.text, "hello you")
        self.assertEqual(reply.pid, self.daemon.process_pid())

    def test_server_stream(self):
        request = EchoRequest(text="a", count=3, interval_ms=1)
        replies = list(self.echo.ServerStream(request, timeout=10))
        self.assertEqual([(each.text, each.number) for each in replies],
                         [("hello a", 0), ("hello a", 1), ("hello a", 2)])

    def test_client_stream(self):
        requests = iter([EchoRequest(text="a"), EchoRequest(text="b")])
        self.assertEqual(self.echo.ClientStream(requests, timeout=10).text, "hello a b")

    def test_bidi(self):
        requests = iter([EchoRequest(text="a"), EchoRequest(text="b")])
        replies = self.echo.Bidi(requests, timeout=10)
        self.assertEqual([(each.text, each.number) for each in replies],
                         [("hello a", 0), ("hello b", 1)])

    def test_slow_and_stubborn(self):
        for method in (self.echo.Slow, self.echo.Stubborn):
            self.assertEqual(method(SlowRequest(delay_ms=20), timeout=10).text, "hello slept")

    def test_deadline_of_the_client(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.echo.Slow(SlowRequest(delay_ms=60_000), timeout=0.2)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)

    def test_callback_service(self):
        echo = callback_echo_pb2_grpc.CallbackEchoStub(
            self.daemon.channel(name="callback", kind=self.kind))
        request = callback_echo_pb2.CallbackRequest(text="you", count=2, interval_ms=1)
        self.assertEqual(echo.Unary(request, timeout=10).text, "you")
        self.assertEqual([each.number for each in echo.ServerStream(request, timeout=10)], [0, 1])

    def test_unknown_method(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.channel.unary_unary("/lastcall.example.Echo/Nothing")(b"", timeout=10)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED)

    def test_health(self):
        health = Health(self.channel)
        self.assertEqual(health.check(), "SERVING")
        self.assertEqual(health.check("lastcall.example.Echo"), "SERVING")
        self.assertEqual(health.list(), {"": "SERVING", "lastcall.example.Echo": "SERVING"})
        with self.assertRaises(grpc.RpcError) as caught:
            health.check("no.such.Service")
        self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)

    def test_health_watch_follows_draining(self):
        watch = Health(self.channel).watch("lastcall.example.Echo")
        self.assertEqual(next(watch), "SERVING")
        self.daemon.ctl("drain", "public", check=True)
        self.assertEqual(next(watch), "NOT_SERVING")
        self.daemon.ctl("undrain", "public", check=True)
        self.assertEqual(next(watch), "SERVING")

    def test_health_watch_of_an_unknown_service(self):
        self.assertEqual(next(Health(self.channel).watch("no.such.Service")), "SERVICE_UNKNOWN")

    def test_health_streams_are_no_work_in_flight(self):
        watch = Health(self.channel).watch()
        next(watch)
        # Not at once: calls of other tests may just be ending.
        wait_until(lambda: self.daemon.server().calls_in_flight == 0, "nothing is in flight", 10)

    def test_reflection(self):
        request = reflection_pb2.ServerReflectionRequest
        reflection = reflection_pb2_grpc.ServerReflectionStub(self.channel)
        replies = list(reflection.ServerReflectionInfo(iter([
            request(list_services="*"),
            request(file_containing_symbol="lastcall.example.Echo"),
        ]), timeout=10))
        services = [each.name for each in replies[0].list_services_response.service]
        self.assertIn("lastcall.example.Echo", services)
        self.assertIn("grpc.health.v1.Health", services)
        file = descriptor_pb2.FileDescriptorProto.FromString(
            replies[1].file_descriptor_response.file_descriptor_proto[0])
        self.assertEqual(file.package, "lastcall.example")


class UnixTest(TcpTest):
    kind = "unix"


class ReflectionSwitchTest(unittest.TestCase):
    def test_a_server_without_reflection_beside_one_with(self):
        with Daemon(servers={"public": {}, "closed": {"reflection": False}}) as daemon:
            for name, expected in (("public", None), ("closed", grpc.StatusCode.UNIMPLEMENTED)):
                reflection = reflection_pb2_grpc.ServerReflectionStub(daemon.channel(name=name))
                stream = reflection.ServerReflectionInfo(
                    iter([reflection_pb2.ServerReflectionRequest(list_services="*")]), timeout=10)
                code = None
                try:
                    next(stream)
                except grpc.RpcError as error:
                    code = error.code()
                self.assertEqual(code, expected, name)


if __name__ == "__main__":
    unittest.main()
