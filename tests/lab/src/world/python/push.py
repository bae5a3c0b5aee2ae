"""Connections that stay: a server that pushes a message to each now and then, and a client that measures how late they come.

As WebSocket servers do: the client asks once, the server upgrades the connection and then speaks whenever it has something to say. As a
stream of events it does not even upgrade it.
"""

import argparse
import asyncio
import json
import time

EVERY = 0.1
FRAME = b"\x82\x08"  # A final binary frame with eight bytes of payload (RFC 6455).
UPGRADE = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
UPGRADING = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"

parser = argparse.ArgumentParser()
parser.add_argument("role", choices=["server", "client"])
parser.add_argument("address")
parser.add_argument("--kind", choices=["websocket", "events"], default="websocket")
parser.add_argument("--connections", type=int, default=8)
parser.add_argument("--for-ms", type=float, default=3000)
args = parser.parse_args()
host, port = args.address.rsplit(":", 1)
late = []


async def push(reader, writer):
    """A connection of the server's."""
    try:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(UPGRADE)
        while True:
            await asyncio.sleep(EVERY)
            writer.write(FRAME + time.monotonic_ns().to_bytes(8, "big"))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()


async def serve():
    server = await asyncio.start_server(push, host, int(port))
    await server.serve_forever()


async def listen():
    """A connection of the client's."""
    reader, writer = await asyncio.open_connection(host, int(port))
    upgrading = UPGRADING if args.kind == "websocket" else b""
    writer.write(b"GET /events HTTP/1.1\r\nHost: lab\r\n" + upgrading + b"\r\n")
    await reader.readuntil(b"\r\n\r\n")
    while True:
        if args.kind == "websocket":
            sent = int.from_bytes((await reader.readexactly(10))[2:], "big")
        else:
            sent = int((await reader.readuntil(b"\n\n")).split()[1])
        late.append(time.monotonic_ns() - sent)


async def measure():
    listeners = [asyncio.create_task(listen()) for _ in range(args.connections)]
    await asyncio.sleep(args.for_ms / 1000)
    for listener in listeners:
        listener.cancel()


if args.role == "server":
    asyncio.run(serve())
else:
    asyncio.run(measure())
    late.sort()
    at = lambda q: late[min(len(late) - 1, int(len(late) * q))]
    mean = sum(late) // len(late)
    # Nobody asked for what comes: it says nothing of how long requests take.
    print(json.dumps({"count": len(late), "p50_ns": at(0.5), "p99_ns": at(0.99), "mean_ns": mean, "requests": []}))
