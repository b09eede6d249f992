"""The service of stall.proto by Debian's grpcio and pandas, as people write it: and its heavy work on
a place of its own, by life.offload().

    PYTHONPATH=build/release/python /usr/bin/python3 examples/stall/pandas_server.py FOLDER
"""

import argparse
import asyncio
import functools
import os.path
import sys
import time
from concurrent import futures

import grpc
import grpc.aio
import pandas

import lastcall
import stall_pb2
import stall_pb2_grpc


def sums(folder, nap, query):
    """The totals so far, after each step."""
    totals, rows = {}, 0
    table = os.path.join(folder, os.path.basename(query.table))
    for part in pandas.read_csv(table, chunksize=query.step):
        for _, row in part.iterrows():
            totals[row.region] = totals.get(row.region, 0) + row.amount
            rows += 1
            if nap and rows % 100 == 0:
                time.sleep(nap)  # "for the others"
        yield stall_pb2.Report(rows=rows, totals=totals)


def total(produce, query):
    *_, last = produce(query)
    return last


class Sales(stall_pb2_grpc.SalesServicer):
    """For grpc.server. `heavy`: a lastcall.Offload, or None."""

    def __init__(self, produce, heavy):
        self.produce, self.heavy = produce, heavy

    def Ping(self, request, context):
        return stall_pb2.PingReply()

    def Totals(self, query, context):
        if self.heavy:
            return self.heavy.stream(context, self.produce, query)
        return self.produce(query)

    def Total(self, query, context):
        if self.heavy:
            return self.heavy.run(context, total, self.produce, query)
        return total(self.produce, query)


class AsyncSales(Sales):
    """For grpc.aio.server."""

    async def Ping(self, request, context):
        return stall_pb2.PingReply()

    async def Totals(self, query, context):
        if self.heavy:
            async for report in self.heavy.stream_async(context, self.produce, query):
                yield report
        else:
            for report in self.produce(query):
                yield report

    async def Total(self, query, context):
        if self.heavy:
            return await self.heavy.run_async(context, total, self.produce, query)
        return total(self.produce, query)


def serve(life, sales, args):
    server = grpc.server(futures.ThreadPoolExecutor(args.workers), options=args.options)
    stall_pb2_grpc.add_SalesServicer_to_server(sales, server)
    print("serving on port", life.attach(server, args.address), flush=True)
    life.wait_for_termination()


async def serve_async(life, sales, args):
    server = grpc.aio.server(options=args.options)
    stall_pb2_grpc.add_SalesServicer_to_server(sales, server)
    print("serving on port", await life.attach(server, args.address), flush=True)
    await life.event("stopped")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", help="of the tables")
    parser.add_argument("--address", default="127.0.0.1:50051")
    parser.add_argument("--api", choices=("sync", "asyncio"), default="sync")
    parser.add_argument("--work", choices=("here", "threads", "processes"), default="here")
    parser.add_argument("--workers", type=int, default=4, help="threads of grpc.server")
    parser.add_argument("--nap", type=float, default=0, help="seconds, after each hundred rows")
    parser.add_argument("--message", type=int, default=4 << 20, help="the most bytes of one")
    parser.add_argument("--stall-after", type=float, default=10)
    args = parser.parse_args()
    args.options = [(f"grpc.max_{way}_message_length", args.message) for way in ("send", "receive")]

    with lastcall.Lifecycle(grace=5, stall_after=args.stall_after) as life:
        heavy = None if args.work == "here" else life.offload(**{args.work: 4})
        produce = functools.partial(sums, args.folder, args.nap)
        if args.api == "sync":
            serve(life, Sales(produce, heavy), args)
        else:
            asyncio.run(serve_async(life, AsyncSales(produce, heavy), args))
    return life.exit_code


if __name__ == "__main__":  # a process of life.offload() imports this file
    sys.exit(main())
