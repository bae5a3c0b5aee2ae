"""A server with a thread for each connection, which needs somebody else for each answer."""

import argparse
import ctypes
import os
import random
import shlex
import socket
import subprocess
import threading
import time

LINE = b"x" * 4096
LOCK = threading.Lock()
LOCAL = threading.local()
LIBC = ctypes.CDLL(None, use_errno=True)


def nobody():
    pass


def pipe():
    """A line on stdout, as a log."""
    os.write(1, LINE)


def helper():
    os.write(OPENED[0], b"?")
    os.read(OPENED[1], len(LINE))


def datagram():
    OPENED.send(LINE[:256])


def stream():
    OPENED.sendall(LINE)


def packet():
    OPENED.send(LINE)


def feed():
    """A line over TCP to somebody who answers nobody."""
    OPENED.sendall(LINE)


def scanner():
    """A file that nobody opens before a scanner has permitted it."""
    os.close(os.open(args.at, os.O_RDONLY))


def queue():
    if LIBC.mq_send(OPENED, LINE, ctypes.c_size_t(len(LINE)), 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot send to the queue")


def service():
    if not hasattr(LOCAL, "service"):
        LOCAL.service = patiently(lambda: socket.create_connection(address(args.at)))
    LOCAL.service.sendall(b"?")
    LOCAL.service.recv(len(LINE))


def resolver():
    try:
        socket.getaddrinfo("db.example", 80)
    except OSError:
        pass


def connect():
    """A connection that nobody takes: TCP gives up after it has asked twice, which is 3 s."""
    with socket.socket() as service:
        service.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 1)
        try:
            service.connect(address(args.at))
        except OSError:
            pass


def child():
    """Another process has to be through."""
    words = [word.replace("{n}", str(random.randrange(1000))) for word in shlex.split(args.run)]
    subprocess.run(words, stdin=subprocess.DEVNULL, check=True)


def lock():
    """A lock of the server's own. Who takes it when it must not be given back any more waits for it as well."""
    if args.until and os.path.exists(args.until):
        LOCK.acquire()
    with LOCK:
        pass


ALL = (nobody, pipe, helper, datagram, stream, packet, feed, scanner, queue, service, resolver, connect, child, lock)
WAYS = {way.__name__: way for way in ALL}


def address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


def patiently(opening):
    """What is opened as soon as the other side is there."""
    end = time.monotonic() + 20
    while True:
        try:
            return opening()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def connected(kind):
    there = socket.socket(socket.AF_UNIX, kind)
    there.connect(args.at)
    return there


def feeding():
    """With room for a few lines."""
    there = socket.socket()
    there.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * len(LINE))
    there.connect(address(args.at))
    return there


def opened_queue():
    queue = LIBC.mq_open(args.at.encode(), os.O_WRONLY)
    if queue < 0:
        raise OSError(ctypes.get_errno(), "cannot open the queue")
    return queue


KINDS = {"datagram": socket.SOCK_DGRAM, "stream": socket.SOCK_STREAM, "packet": socket.SOCK_SEQPACKET}


def opened():
    """What all threads use."""
    if args.way == "helper":
        return os.open(args.at + ".question", os.O_WRONLY), os.open(args.at + ".answer", os.O_RDONLY)
    if args.way in KINDS:
        return patiently(lambda: connected(KINDS[args.way]))
    if args.way == "feed":
        return patiently(feeding)
    if args.way == "scanner":
        return patiently(lambda: os.stat(args.at))
    if args.way == "queue":
        return patiently(opened_queue)
    return None


def converse(connection):
    """Any request has the same answer."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    heard = b""
    try:
        while True:
            while b"\r\n\r\n" not in heard:
                more = connection.recv(65536)
                if not more:
                    return
                heard += more
            heard = heard.partition(b"\r\n\r\n")[2]
            WAYS[args.way]()
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    except ConnectionError:
        pass
    finally:
        connection.close()


parser = argparse.ArgumentParser()
parser.add_argument("way", choices=WAYS)
parser.add_argument("address")
parser.add_argument("--at", help="where the other side is: a path, the name of a queue, or an address")
parser.add_argument("--run", help="the child's command; {n} becomes a number below 1000")
parser.add_argument("--until", help="the lock stays taken as soon as this file exists")
args = parser.parse_args()
if args.until and os.path.exists(args.until):
    # Of an earlier process.
    os.unlink(args.until)
OPENED = opened()
server = socket.create_server(address(args.address), backlog=128)
while True:
    threading.Thread(target=converse, args=[server.accept()[0]], daemon=True).start()
