"""A client that is content with any answer, and patient: a request that has none yet counts with its age.

It also lists the requests that were answered, as the kernel's stamps of their packets say: its own clock has its own calls in it, and
how late the scheduler wakes it.
"""

import argparse
import json
import math
import os
import socket
import struct
import threading
import time

WARM_UP_S = 0.3
BEGIN = time.monotonic()
times, since = [], {}
# Begin and length of each, ns, and how long the calls that sent them lasted.
stamped, sends = [], []

# SO_TIMESTAMPING, and the type of the messages that it brings; then software's stamps of what is sent and received, without the packets.
STAMPING = 37
STAMPS = 1 << 1 | 1 << 3 | 1 << 4 | 1 << 11


class Stream:
    """A connection whose packets the kernel stamps."""

    def __init__(self):
        host, port = args.address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, STAMPING, STAMPS)
        self.asked = self.left = self.arrived = None

    def send(self, what):
        self.socket.sendall(what)

    def ask(self, question):
        """Sends a question that fits into a packet."""
        while self.departure():
            pass
        self.arrived, self.asked = None, time.time_ns()
        begin = time.perf_counter_ns()
        self.socket.sendall(question)
        sends.append(time.perf_counter_ns() - begin)
        self.left = self.departure()

    def answered(self):
        """Begin and length of the last question, now that its answer was read."""
        begin = self.left or self.departure() or self.asked
        return begin, max(0, (self.arrived or time.time_ns()) - begin)

    def departure(self):
        """The first stamp of what was sent that nobody has read yet."""
        try:
            return stamp(self.socket.recvmsg(1, 512, socket.MSG_ERRQUEUE)[1])
        except BlockingIOError:
            return None

    def more(self, size):
        read, parts, _, _ = self.socket.recvmsg(size, 512)
        if not read:
            raise ConnectionError("the server has hung up")
        self.arrived = stamp(parts)
        return read

    def exactly(self, size):
        read = b""
        while len(read) < size:
            read += self.more(size - len(read))
        return read


def stamp(parts):
    for level, kind, times_of in parts:
        if (level, kind) == (socket.SOL_SOCKET, STAMPING):
            seconds, ns = struct.unpack_from("qq", times_of)
            return seconds * 10**9 + ns
    return None


class Http:
    """Asks a web server, of whatever kind."""

    def __init__(self, _):
        self.stream = Stream()

    def ask(self):
        """Whether the connection stays."""
        self.stream.ask(b"GET /0000.txt HTTP/1.1\r\nHost: lab\r\n\r\n")
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.stream.more(65536)
        head, _, body = answer.partition(b"\r\n\r\n")
        fields = [line.split(b":", 1) for line in head.lower().split(b"\r\n")[1:]]
        fields = {field[0]: field[1].strip() for field in fields}
        missing = int(fields[b"content-length"]) - len(body)
        while missing > 0:
            missing -= len(self.stream.more(missing))
        return fields.get(b"connection") != b"close"


def frame(kind, flags, stream, body=b""):
    """A frame of HTTP/2 (RFC 9113)."""
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


def field(name, value):
    """A field of a head, as it is, and not to be remembered (RFC 7541)."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


class Etcd:
    """Puts a value into etcd, over gRPC, which is a request of HTTP/2."""

    DATA, HEADERS, RESET, SETTINGS, PING, GO_AWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8
    END, ANSWERS, WHOLE = 1, 1, 4
    HEAD = b"".join(
        [
            field(b":method", b"POST"),
            field(b":scheme", b"http"),
            field(b":path", b"/etcdserverpb.KV/Put"),
            field(b":authority", b"lab"),
            field(b"content-type", b"application/grpc"),
            field(b"te", b"trailers"),
        ]
    )

    def __init__(self, number):
        self.stream = Stream()
        self.number = -1
        key, value = b"key%d" % number, b"v" * 100
        put = b"\x0a" + bytes([len(key)]) + key + b"\x12" + bytes([len(value)]) + value
        self.put = b"\0" + len(put).to_bytes(4, "big") + put
        # All answers together may be longer than the 64 KiB that are allowed without this.
        larger = frame(self.WINDOW, 0, 0, (1 << 30).to_bytes(4, "big"))
        self.stream.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(self.SETTINGS, 0, 0) + larger)

    def ask(self):
        self.number += 2
        head = frame(self.HEADERS, self.WHOLE, self.number, self.HEAD)
        self.stream.ask(head + frame(self.DATA, self.END, self.number, self.put))
        while True:
            head = self.stream.exactly(9)
            kind, flags, number = head[3], head[4], int.from_bytes(head[5:], "big")
            body = self.stream.exactly(int.from_bytes(head[:3], "big"))
            if kind == self.SETTINGS and not flags & self.ANSWERS:
                self.stream.send(frame(self.SETTINGS, self.ANSWERS, 0))
            elif kind == self.PING and not flags & self.ANSWERS:
                self.stream.send(frame(self.PING, self.ANSWERS, 0, body))
            elif kind in (self.RESET, self.GO_AWAY):
                raise ConnectionError("etcd does not want to answer")
            elif kind == self.HEADERS and flags & self.END and number == self.number:
                return True


def converse(number):
    """One connection, with one request at a time."""
    asking, turn = None, 0
    while True:
        # Between half of the think time and one and a half, so that connections do not march in step.
        time.sleep(args.think_ms / 1000 * (0.5 + (turn * 7 + number * 3) % 11 / 10))
        turn += 1
        try:
            asking = asking or PROTOCOLS[args.protocol](number)
            begin = since[number] = time.monotonic()
            stays = asking.ask()
            took = time.monotonic() - begin
            stamped.append(asking.stream.answered())
            if begin - BEGIN >= WARM_UP_S:
                times.append(took)
        except OSError:
            stays = False
            time.sleep(0.05)
        since.pop(number, None)
        if not stays:
            asking = None
        while args.once and stays:
            time.sleep(60)


PROTOCOLS = {"http": Http, "etcd": Etcd}
parser = argparse.ArgumentParser()
parser.add_argument("--address", required=True)
parser.add_argument("--protocol", choices=PROTOCOLS, default="http")
parser.add_argument("--connections", type=int, default=4)
parser.add_argument("--think-ms", type=float, default=20)
parser.add_argument("--for-ms", type=float, default=3000)
parser.add_argument("--once", action="store_true", help="each connection asks once, and stays")
args = parser.parse_args()
for number in range(args.connections):
    threading.Thread(target=converse, args=[number], daemon=True).start()
time.sleep(args.for_ms / 1000)
now = time.monotonic()
answered = max(times, default=0)
# An age says how long a request takes only if none with an answer took so long: the others may just have begun.
all_times = sorted(times + [now - begin for begin in list(since.values()) if now - begin > answered])
if all_times:
    at = lambda sorted_times, q: sorted_times[max(1, math.ceil(len(sorted_times) * q)) - 1]
    p50, p99 = (int(1e9 * at(all_times, q)) for q in (0.5, 0.99))
    figures = {"count": len(all_times), "p50_ns": p50, "p99_ns": p99, "mean_ns": int(1e9 * sum(all_times) / len(all_times))}
    # A send that nothing interrupts lasts so long.
    send = at(sorted(sends), 0.1) if sends else 0
    print(json.dumps({**figures, "send_ns": send, "requests": stamped}), flush=True)
# Threads that wait for an answer would keep it alive.
os._exit(0)
