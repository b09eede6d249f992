"""A server of the test services in a real process, and a channel to it."""

import grpc

from clients import Log
from python_program import Program


class Server(Program):
    """One server, of the kind "sync" or "aio", with a channel to it."""

    def __init__(self, kind, lengths, serve="", first="", **kwargs):
        super().__init__(f"""
            import python_services
            with lastcall.Lifecycle({lengths}) as life:
                {first}
                python_services.run_{kind}(life{serve})
            say("receipt", **life.receipt)
            sys.exit(life.exit_code)
        """, **kwargs)
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.hear('serving')['port']}")

    def __exit__(self, *args):
        self.channel.close()
        super().__exit__(*args)

    def sleep(self, seconds):
        return self.channel.unary_unary("/test.Service/Sleep").future(str(seconds).encode())

    def ticks(self):
        log = Log(self.channel.unary_stream("/test.Service/Ticks")(b""))
        log.when(b"tick")
        return log

    def late(self):
        call = self.channel.unary_unary("/test.Service/Late").future(b"")
        self.hear("late")
        return call

    def deaf(self):
        call = self.channel.unary_unary("/test.Service/Deaf").future(b"")
        self.hear("deaf")
        return call
