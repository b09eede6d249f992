"""TLS and mutual TLS, with certificates made on the spot: who is served, who is not, and renewal."""

import contextlib
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import unittest

import grpc

import echo_pb2_grpc
from clients import SLACK, Busy, Health, wait_until
from echo_pb2 import EchoRequest, SlowRequest
from harness import BIN, Daemon, run


class Authority:
    """A certificate authority in a folder of its own."""

    def __init__(self, folder, name):
        self.folder = pathlib.Path(folder)
        self.name = name
        self.certificate = self.folder / f"{name}.pem"
        self.key = self.folder / f"{name}.key"
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                     "-nodes", "-subj", f"/CN={name}", "-days", "10",
                     "-keyout", self.key, "-out", self.certificate)

    def openssl(self, *args):
        subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)

    def issue(self, name, subjects=b"DNS:localhost,IP:127.0.0.1"):
        """(certificate, key): for localhost."""
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        request, names = self.folder / f"{name}.csr", self.folder / "names"
        names.write_bytes(b"subjectAltName=" + subjects + b"\n")
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                     "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        self.openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key,
                     "-set_serial", "7", "-extfile", names, "-days", "10",
                     "-out", certificate)
        return certificate, key


class TlsTest(unittest.TestCase):
    def setUp(self):
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="lastcall-tls-"))
        self.authority = Authority(folder, "authority")
        self.certificate, self.key = self.authority.issue("server")

    def daemon(self, wait=True, config=None, **tls):
        tls = {"certificate": str(self.certificate), "key": str(self.key),
               **{name: str(path) for name, path in tls.items()}}
        return Daemon(servers={"public": {"tls": tls}}, wait=wait, reload={"settle": "200ms"},
                      **(config or {}))

    def channel(self, daemon, kind="tcp", roots=None, client=None):
        roots = (roots or self.authority.certificate).read_bytes()
        certificate, key = (path.read_bytes() for path in client) if client else (None, None)
        options = [("grpc.use_local_subchannel_pool", 1)]
        if kind == "unix":
            options.append(("grpc.ssl_target_name_override", "localhost"))
        return grpc.secure_channel(
            daemon.address(kind=kind),
            grpc.ssl_channel_credentials(roots, key, certificate), options)

    def try_all(self, channel):
        """Every kind of call."""
        echo = echo_pb2_grpc.EchoStub(channel)
        requests = [EchoRequest(text=text) for text in "ab"]
        self.assertEqual(echo.Unary(EchoRequest(text="x"), timeout=10).text, "x")
        self.assertEqual(len(list(echo.ServerStream(EchoRequest(count=3), timeout=10))), 3)
        self.assertEqual(echo.ClientStream(iter(requests), timeout=10).text, "a b")
        self.assertEqual([each.text for each in echo.Bidi(iter(requests), timeout=10)], ["a", "b"])
        self.assertEqual(echo.Slow(SlowRequest(delay_ms=10), timeout=10).text, "slept")
        self.assertEqual(Health(channel).check(), "SERVING")

    def refused(self, channel):
        with self.assertRaises(grpc.RpcError) as caught:
            echo_pb2_grpc.EchoStub(channel).Unary(EchoRequest(), timeout=5)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)

    def test_tls(self):
        with self.daemon() as daemon:
            for kind in ("tcp", "unix"):
                with self.subTest(kind):
                    self.try_all(self.channel(daemon, kind))
            self.refused(daemon.channel())
            other = Authority(self.authority.folder, "other")
            self.refused(self.channel(daemon, roots=other.certificate))
            self.assertRegex(daemon.ctl("servers", "public").stdout, r"TLS +until 20\d\d-")

    def test_mutual_tls(self):
        with self.daemon(client_ca=self.authority.certificate) as daemon:
            self.try_all(self.channel(daemon, client=self.authority.issue("alice")))
            self.refused(self.channel(daemon))
            stranger = Authority(self.authority.folder, "stranger")
            self.refused(self.channel(daemon, client=stranger.issue("mallory")))

    def test_another_client_ca_alone(self):
        other = Authority(self.authority.folder, "other")
        alice, bob = self.authority.issue("alice"), other.issue("bob")
        with self.daemon(client_ca=self.authority.certificate) as daemon:
            self.try_all(self.channel(daemon, client=alice))
            self.refused(self.channel(daemon, client=bob))
            text = daemon.config.read_text()
            ours = f'client_ca = "{self.authority.certificate}"'
            self.assertIn(ours, text)
            daemon.config.write_text(text.replace(ours, f'client_ca = "{other.certificate}"'))
            daemon.ctl("reload", check=True)
            self.refused(self.channel(daemon, client=alice))
            self.try_all(self.channel(daemon, client=bob))
            # The same file with another content.
            other.certificate.write_bytes(self.authority.certificate.read_bytes())
            daemon.ctl("reload", check=True)
            self.try_all(self.channel(daemon, client=alice))
            self.refused(self.channel(daemon, client=bob))

    def test_a_replacement_waits_for_handshakes_and_for_nobody_else(self):
        with self.daemon() as daemon:
            echo = echo_pb2_grpc.EchoStub(self.channel(daemon))
            echo.Unary(EchoRequest(text="then idle"), timeout=10)
            host, port = daemon.address().rsplit(":", 1)
            for late in (True, False):
                with self.subTest(late=late), contextlib.ExitStack() as stack:
                    (old,) = daemon.hosts()
                    if late:
                        silent = stack.enter_context(socket.create_connection((host, int(port))))
                        wait_until(lambda: daemon.server().connections == 2, "both are there")
                    began = time.monotonic()
                    daemon.ctl("restart", "main", check=True)
                    if late:
                        time.sleep(max(0, began + 3 - time.monotonic()))
                        self.assertIn(old, daemon.hosts())
                        context = ssl.create_default_context(cafile=self.authority.certificate)
                        context.set_alpn_protocols(["h2"])
                        stack.enter_context(context.wrap_socket(silent, server_hostname="localhost"))
                    wait_until(lambda: old not in daemon.hosts(), "the old one is gone")
                    self.assertLess(time.monotonic() - began, (3 if late else 2) + SLACK)
                    self.assertEqual(echo.Unary(EchoRequest(text="x"), timeout=10).text, "x")

    def test_handshakes_that_fail_do_not_fill_the_log(self):
        floods = 500
        with self.daemon() as daemon:
            host, port = daemon.address().rsplit(":", 1)
            for _ in range(floods):
                with socket.create_connection((host, int(port))) as client, \
                        contextlib.suppress(ConnectionError):
                    client.sendall(b"GET / HTTP/1.1\r\n\r\n")
                    client.recv(100)  # until the other end closes
            said = daemon.log().count("Handshake failed")
            self.assertGreater(said, 0)
            self.assertLess(said, floods / 5)

    def test_a_peer_is_named_in_the_receipt(self):
        config = {"shutdown": {"grace": "200ms"}}
        with self.daemon(client_ca=self.authority.certificate, config=config) as daemon:
            echo = echo_pb2_grpc.EchoStub(
                self.channel(daemon, client=self.authority.issue("alice")))
            call = echo.Slow.future(SlowRequest(delay_ms=60_000), timeout=60)
            daemon.await_calls(1)
            daemon.process.terminate()
            self.assertEqual(daemon.wait(), 3)
            self.assertEqual(call.code(), grpc.StatusCode.UNAVAILABLE)
            (cancelled,) = daemon.receipt()["cancelled"]
            self.assertRegex(cancelled["peer"], r"^127\.0\.0\.1:\d+ (localhost|alice)")

    def test_a_peer_whose_name_steers_terminals(self):
        config = {"shutdown": {"grace": "200ms"}}
        client = self.authority.issue("eve", b"URI:spiffe://shop/\x9b31m")
        with self.daemon(client_ca=self.authority.certificate, config=config) as daemon:
            echo = echo_pb2_grpc.EchoStub(self.channel(daemon, client=client))
            call = echo.Slow.future(SlowRequest(delay_ms=60_000), timeout=60)
            daemon.await_calls(1)
            daemon.signal(signal.SIGUSR1)
            daemon.wait_log("from 127.0.0.1:")
            daemon.process.terminate()
            self.assertEqual(daemon.wait(), 3)
            self.assertEqual(call.code(), grpc.StatusCode.UNAVAILABLE)
            (cancelled,) = daemon.receipt()["cancelled"]
            self.assertRegex(cancelled["peer"], r"^127\.0\.0\.1:\d+ spiffe://shop/\\u009b31m$")
            self.assertNotIn("\u009b", daemon.log())

    def test_a_renewed_certificate_is_a_reload(self):
        with self.daemon() as daemon:
            class Secure:  # what Busy asks of a daemon
                channel = staticmethod(lambda **kwargs: self.channel(daemon, **kwargs))
            with Busy(Secure) as tcp, Busy(Secure, kind="unix") as unix:
                self.certificate, self.key = self.authority.issue("server")
                self.assertIn("~certificate of server public",
                              daemon.ctl("reload", check=True).stdout)
                (host,) = [pid for pid in daemon.hosts() if pid == daemon.process_pid()]
                wait_until(lambda: tcp.pids[-1] == host and unix.pids[-1] == host,
                           "everybody is with the new one")
            self.assertEqual(tcp.failed + unix.failed, [])

    def test_an_expired_certificate_warns_and_serves(self):
        certificate, key = self.expired()
        with self.daemon(certificate=certificate, key=key) as daemon:
            self.assertIn("expired at 20", daemon.log())
            self.assertIn("NOT VALID", daemon.ctl("status").stdout)
            self.assertFalse(daemon.server().certificate.valid)
            self.refused(self.channel(daemon))  # by the client, which looks at the date

    def expired(self):
        """A certificate of yesterday."""
        certificate = self.authority.folder / "expired.pem"
        key = self.authority.folder / "expired.key"
        self.authority.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                               "-nodes", "-subj", "/CN=old", "-keyout", key,
                               "-out", self.authority.folder / "expired.csr")
        database = self.authority.folder / "database"
        database.write_text("")
        settings = self.authority.folder / "ca.cnf"
        settings.write_text(f"""
[ca]
default_ca = one
[one]
database = {database}
new_certs_dir = {self.authority.folder}
rand_serial = yes
default_md = sha256
policy = any
[any]
commonName = supplied
""")
        self.authority.openssl("ca", "-batch", "-config", settings, "-notext",
                               "-cert", self.authority.certificate, "-keyfile", self.authority.key,
                               "-startdate", "20200101000000Z", "-enddate", "20200201000000Z",
                               "-in", self.authority.folder / "expired.csr", "-out", certificate)
        return certificate, key

    def test_files_that_are_not_what_they_should_be(self):
        _, other_key = self.authority.issue("other")
        nothing = self.authority.folder / "nothing"
        nothing.write_text("no PEM")
        large = self.authority.folder / "large"
        large.write_bytes(self.certificate.read_bytes() + b"\n" * (1 << 20))
        fifo = self.authority.folder / "fifo"
        os.mkfifo(fifo)
        encrypted = self.authority.folder / "encrypted.key"
        self.authority.openssl("pkey", "-in", self.key, "-aes256", "-passout", "pass:x",
                               "-out", encrypted)
        for tls, text in (
                ({"key": other_key}, "is not the key of the first certificate in"),
                ({"key": nothing}, "is not a private key in PEM form"),
                ({"key": encrypted}, "is encrypted; take the passphrase away"),
                ({"certificate": nothing}, "is not a certificate in PEM form"),
                ({"certificate": large}, "is larger than 1 MiB; name the PEM file itself"),
                ({"client_ca": fifo}, "fifo: is a named pipe (FIFO), not a regular file"),
                ({"client_ca": "/dev/zero"}, "/dev/zero: is a device, not a regular file"),
                ({"certificate": "/nowhere"}, "/nowhere: cannot be read: No such file"),
                ({"client_ca": nothing}, "has no certificate in PEM form")):
            with self.subTest(text), self.daemon(wait=False, **tls) as daemon:
                self.assertEqual(daemon.wait(), 78, daemon.log())
                self.assertIn(text, daemon.log())
                self.assertRegex(daemon.log(), r'toml:\d+: server "public", tls: ')
                done = run(BIN / "lastcalld", "--config", daemon.config, "--check")
                self.assertEqual(done.returncode, 78)

    def test_a_key_that_others_may_read_warns_and_serves(self):
        self.authority.folder.chmod(0o755)
        with self.daemon() as daemon:
            self.assertNotIn("may be read by", daemon.log())
            lines = daemon.config.read_text(encoding="utf-8").splitlines()
            (line,) = [at for at, each in enumerate(lines, 1) if each.startswith("key = ")]
            said = (f'{daemon.config}:{line}: server "public": its key {self.key} may be read by '
                    f'everybody (mode 0644); it is served all the same: run "chmod o-r {self.key}"')
            self.key.chmod(0o644)
            self.certificate.write_bytes(self.certificate.read_bytes() + b"\n")
            daemon.ctl("reload", check=True)
            self.assertIn(said, daemon.log())
            self.try_all(self.channel(daemon))
            check = run(BIN / "lastcalld", "--config", daemon.config, "--check")
            self.assertEqual(check.returncode, 0)
            self.assertIn("warning: " + said, check.stderr)
            daemon.process.terminate()
            self.assertEqual(daemon.wait(), 0)
            daemon.start()
            daemon.ctl("--timeout", "30s", "wait", "serving", check=True)
            self.assertEqual(daemon.log().count(said), 2)
            self.key.chmod(0o640)
            daemon.ctl("reload", check=True)
            self.assertEqual(daemon.log().count(said), 2)

    def test_a_broken_renewal_changes_nothing(self):
        with self.daemon() as daemon:
            self.key.write_text("half a file")
            done = daemon.ctl("reload")
            self.assertEqual(done.returncode, 1)
            self.assertIn("is not a private key", done.stderr)
            self.try_all(self.channel(daemon))


if __name__ == "__main__":
    unittest.main()
