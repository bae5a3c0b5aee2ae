"""Whom a server asks: it takes what comes over a pipe, a socket or a queue, and works for each message, or does not. Or it permits others
to open a file."""

import argparse
import ctypes
import mmap
import os
import random
import socket
import struct
import threading
import time

SIZE = 4096
PART = 64 << 10
# As many messages of the kernel's default size as it takes without asking for more.
QUEUED = 10
# Of linux/fanotify.h and linux/fcntl.h.
CLASS_CONTENT, MARK_ADD, OPEN_PERM, ALLOW, HERE = 4, 1, 0x10000, 1, -100
LIBC = ctypes.CDLL(None, use_errno=True)


def work():
    """What is done for a message."""
    while args.until and os.path.exists(args.until):
        time.sleep(60)
    if FILE is not None:
        part = mmap.mmap(-1, PART)
        os.preadv(FILE, [part], random.randrange(PARTS) * PART)
    if args.sleep_ms:
        time.sleep(args.sleep_ms / 1000)


def pipe():
    with open(args.at, "rb", buffering=0) as messages:
        while messages.read(SIZE):
            work()


def helper():
    """It takes questions from one pipe, and puts answers into another."""
    with open(args.at + ".question", "rb", buffering=0) as questions, open(args.at + ".answer", "wb", buffering=0) as answers:
        while questions.read(SIZE):
            work()
            answers.write(b"x")


def bound(kind):
    """A Unix socket in the place of one that an earlier process has left."""
    if os.path.exists(args.at):
        os.unlink(args.at)
    here = socket.socket(socket.AF_UNIX, kind)
    here.bind(args.at)
    return here


def datagram():
    here = bound(socket.SOCK_DGRAM)
    while True:
        here.recv(SIZE)
        work()


def stream():
    serve(bound(socket.SOCK_STREAM), lambda connection: None)


def packet():
    serve(bound(socket.SOCK_SEQPACKET), lambda connection: None)


def scanner():
    """Nobody opens the file before it has worked for that and permitted it (fanotify)."""
    open(args.at, "wb").close()
    group = LIBC.fanotify_init(CLASS_CONTENT, os.O_RDONLY)
    if group < 0 or LIBC.fanotify_mark(group, MARK_ADD, ctypes.c_uint64(OPEN_PERM), HERE, args.at.encode()) != 0:
        raise OSError(ctypes.get_errno(), "cannot scan the file")
    while True:
        asked = os.read(group, SIZE)
        while asked:
            length, _, _, _, _, file, _ = struct.unpack_from("=IBBHQii", asked)
            work()
            os.write(group, struct.pack("=iI", file, ALLOW))
            os.close(file)
            asked = asked[length:]


def feed():
    """It reads, and answers nobody. What it has not read yet is soon too much."""
    here = socket.create_server(address())
    here.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * SIZE)
    serve(here, lambda connection: None)


def service():
    serve(socket.create_server(address()), lambda connection: connection.sendall(b"x"))


def serve(here, answer):
    """A thread for each connection."""

    def take(connection):
        while connection.recv(SIZE):
            work()
            answer(connection)

    here.listen(64)
    while True:
        threading.Thread(target=take, args=[here.accept()[0]], daemon=True).start()


def queue():
    """A queue of POSIX, which stays when its last process has ended."""
    attributes = struct.pack("8l", 0, QUEUED, SIZE, 0, 0, 0, 0, 0)
    queue = LIBC.mq_open(args.at.encode(), os.O_RDONLY | os.O_CREAT, 0o600, attributes)
    if queue < 0:
        raise OSError(ctypes.get_errno(), "cannot open the queue")
    message = ctypes.create_string_buffer(SIZE)
    while LIBC.mq_receive(queue, message, ctypes.c_size_t(SIZE), None) >= 0:
        work()


def resolver():
    """It answers questions for addresses (RFC 1035)."""
    here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    here.bind(address())

    def resolve(question, client):
        if not (args.late_ipv6 and is_ipv4(question)):
            work()
        here.sendto(resolved(question), client)

    while True:
        threading.Thread(target=resolve, args=here.recvfrom(SIZE), daemon=True).start()


def end_of(question):
    """The end of the name, the kind and the class of what is asked."""
    end = 12
    while question[end]:
        end += 1 + question[end]
    return end + 5


def is_ipv4(question):
    end = end_of(question)
    return question[end - 4 : end - 2] == b"\0\1"


def resolved(question):
    """An address of IPv4, if that is the question, else none."""
    head = question[:2] + struct.pack(">5H", 0x8180, 1, int(is_ipv4(question)), 0, 0)
    # The name is that of the question; class 1, kept for 0 s, 4 bytes.
    record = struct.pack(">3HIH4B", 0xC00C, 1, 1, 0, 4, 192, 0, 2, 1)
    return head + question[12 : end_of(question)] + (record if is_ipv4(question) else b"")


def address():
    host, port = args.at.rsplit(":", 1)
    return host, int(port)


WAYS = {way.__name__: way for way in (pipe, helper, datagram, stream, packet, scanner, feed, service, queue, resolver)}

parser = argparse.ArgumentParser()
parser.add_argument("way", choices=WAYS)
parser.add_argument("at", help="a path, the name of a queue, or an address")
parser.add_argument("--sleep-ms", type=float, default=0, help="for each message")
parser.add_argument("--late-ipv6", action="store_true", help="questions for addresses of IPv4 are answered at once")
parser.add_argument("--file", help="a file of which each message needs a part, past the page cache")
parser.add_argument("--until", help="it takes and answers nothing more as soon as this file exists")
args = parser.parse_args()
if args.until and os.path.exists(args.until):
    # Of an earlier process.
    os.unlink(args.until)
FILE = os.open(args.file, os.O_RDONLY | os.O_DIRECT) if args.file else None
PARTS = os.fstat(FILE).st_size // PART if args.file else 0
WAYS[args.way]()
