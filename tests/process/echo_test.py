"""Debian's Python client against every method of echo, health and reflection, over tcp and unix."""

import unittest

import grpc

import callback_echo_pb2
import callback_echo_pb2_grpc
import reflection_pb2
import reflection_pb2_grpc
from echo_pb2 import EchoRequest, SlowRequest
from clients import Health
from google.protobuf import descriptor_pb2
from harness import Daemon


class EchoTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon(servers={
            "public": {"config": {"echo": {"greeting": "hello"}}},
            "callback": {"plugins": ["callback_echo"], "process": "callback"},
        })
        cls.daemon.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.daemon.__exit__()

    def each_kind(self):
        for kind in ("tcp", "unix"):
            with self.subTest(kind=kind):
                yield self.daemon.channel(kind=kind)

    def stubs(self):
        for kind in ("tcp", "unix"):
            with self.subTest(kind=kind):
                yield self.daemon.echo(kind=kind)

    def test_unary(self):
        for echo in self.stubs():
            reply = echo.Unary(EchoRequest(text="you"), timeout=10)
            self.assertEqual(reply.text, "hello you")
            self.assertEqual(reply.pid, self.daemon.process_pid())

    def test_server_stream(self):
        for echo in self.stubs():
            replies = list(echo.ServerStream(EchoRequest(text="a", count=3, interval_ms=1), timeout=10))
            self.assertEqual([(each.text, each.number) for each in replies],
                             [("hello a", 0), ("hello a", 1), ("hello a", 2)])

    def test_client_stream(self):
        for echo in self.stubs():
            reply = echo.ClientStream(iter([EchoRequest(text="a"), EchoRequest(text="b")]), timeout=10)
            self.assertEqual(reply.text, "hello a b")

    def test_bidi(self):
        for echo in self.stubs():
            replies = echo.Bidi(iter([EchoRequest(text="a"), EchoRequest(text="b")]), timeout=10)
            self.assertEqual([(each.text, each.number) for each in replies],
                             [("hello a", 0), ("hello b", 1)])

    def test_slow_and_stubborn(self):
        for echo in self.stubs():
            self.assertEqual(echo.Slow(SlowRequest(delay_ms=20), timeout=10).text, "hello slept")
            self.assertEqual(echo.Stubborn(SlowRequest(delay_ms=20), timeout=10).text, "hello slept")

    def test_deadline_of_the_client(self):
        for echo in self.stubs():
            with self.assertRaises(grpc.RpcError) as caught:
                echo.Slow(SlowRequest(delay_ms=60_000), timeout=0.2)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)

    def test_callback_service(self):
        for kind in ("tcp", "unix"):
            with self.subTest(kind=kind):
                echo = callback_echo_pb2_grpc.CallbackEchoStub(
                    self.daemon.channel(name="callback", kind=kind))
                request = callback_echo_pb2.CallbackRequest(text="you", count=2, interval_ms=1)
                self.assertIn("you", echo.Unary(request, timeout=10).text)
                self.assertEqual(len(list(echo.ServerStream(request, timeout=10))), 2)

    def test_unknown_method(self):
        for channel in self.each_kind():
            with self.assertRaises(grpc.RpcError) as caught:
                channel.unary_unary("/lastcall.example.Echo/Nothing")(b"", timeout=10)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED)

    def test_health(self):
        for channel in self.each_kind():
            health = Health(channel)
            self.assertEqual(health.check(), "SERVING")
            self.assertEqual(health.check("lastcall.example.Echo"), "SERVING")
            self.assertEqual(health.list(), {"": "SERVING", "lastcall.example.Echo": "SERVING"})
            with self.assertRaises(grpc.RpcError) as caught:
                health.check("no.such.Service")
            self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)

    def test_health_watch_follows_draining(self):
        for channel in self.each_kind():
            watch = Health(channel).watch("lastcall.example.Echo")
            self.assertEqual(next(watch), "SERVING")
            self.daemon.ctl("drain", "public", check=True)
            self.assertEqual(next(watch), "NOT_SERVING")
            self.daemon.ctl("undrain", "public", check=True)
            self.assertEqual(next(watch), "SERVING")

    def test_health_watch_of_an_unknown_service(self):
        for channel in self.each_kind():
            self.assertEqual(next(Health(channel).watch("no.such.Service")), "SERVICE_UNKNOWN")

    def test_health_streams_are_no_work_in_flight(self):
        for channel in self.each_kind():
            watch = Health(channel).watch()
            next(watch)
            self.assertEqual(self.daemon.server().calls_in_flight, 0)

    def test_reflection(self):
        request = reflection_pb2.ServerReflectionRequest
        for channel in self.each_kind():
            reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
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
