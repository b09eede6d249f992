"""What stands between the clients of matrix.py and the daemons: nothing, or HAProxy or nginx as
configured in examples/proxies."""

import contextlib
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile

from clients import wait_until

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples" / "proxies"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Direct:
    """No proxy, and one daemon."""

    def __init__(self, addresses):
        self.address, = addresses

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def await_servers(self):
        """Waits until it uses all of its servers."""


class Proxy:
    """The example's configuration with other addresses."""

    def __init__(self, addresses, file):
        self.address = f"127.0.0.1:{free_port()}"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lastcall-proxy-"))
        text = (EXAMPLES / file).read_text(encoding="utf-8").replace("127.0.0.1:8443", self.address)
        for example, address in zip(("127.0.0.1:50051", "127.0.0.1:50052"), addresses):
            text = text.replace(example, address)
        if len(addresses) == 1:  # without the line of the second
            text = re.sub(r"\n.*127\.0\.0\.1:50052.*", "", text)
        self.configuration = self.folder / file
        self.configuration.write_text(self.adapt(text), encoding="utf-8")

    def __enter__(self):
        self.log = open(self.folder / "log", "w+", encoding="utf-8", errors="replace")
        self.process = subprocess.Popen(self.command(), stdout=self.log, stderr=self.log)

        def listens():
            assert self.process.poll() is None, (self.folder / "log").read_text(encoding="utf-8")
            with contextlib.suppress(OSError), socket.create_connection(self.address.split(":")):
                return True
        wait_until(listens, "the proxy listens")
        self.await_servers()
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder)


class HAProxy(Proxy):
    """Asks for health."""

    def __init__(self, addresses):
        super().__init__(addresses, "haproxy.cfg")

    def adapt(self, text):
        return text.replace("global\n", f"global\n  stats socket {self.folder}/stats\n")

    def command(self):
        return ["haproxy", "-db", "-f", self.configuration]

    def down(self):
        """Whether it leaves out a server, or has yet to ask one for the first time."""
        with socket.socket(socket.AF_UNIX) as stats:
            if stats.connect_ex(f"{self.folder}/stats") != 0:
                return True  # it has only begun
            stats.sendall(b"show servers state daemons\n")
            lines = stats.makefile().read().splitlines()
        names = lines[1].lstrip("# ").split()
        servers = [dict(zip(names, line.split())) for line in lines[2:] if line]
        # 2: running; and 6: by the word of a check.
        return any(each["srv_op_state"] != "2" or not int(each["srv_check_state"]) & 2 or
                   each["srv_check_result"] != "3" for each in servers)

    def await_servers(self):
        wait_until(lambda: not self.down(), "HAProxy uses its servers")


class Nginx(Proxy):
    """Asks for nobody's health."""

    keepalive = False

    def __init__(self, addresses):
        super().__init__(addresses, "nginx.conf")

    def adapt(self, text):
        text = text.replace("/run/nginx.pid", f"{self.folder}/pid")
        text = text.replace("/var/log/nginx/error.log", f"{self.folder}/log")
        return text if self.keepalive else re.sub(r"\n *keepalive \d+;", "", text)

    def command(self):
        return ["nginx", "-p", self.folder, "-c", self.configuration, "-g", "daemon off;"]

    def await_servers(self):
        pass


class NginxKeepalive(Nginx):
    """Connections to the daemons that outlive a call."""

    keepalive = True
