"""A web server for a directory's files, in the forms and with the habits that servers have in Python."""

import argparse
import asyncio
import ctypes
import fcntl
import http.server
import itertools
import mmap
import os
import random
import socket
import socketserver
import sqlite3
import threading
import time
import zlib

WORKS = ["plain", "gzip", "lock", "interpret", "poll", "flock", "try", "mutex", "pi", "semaphore", "sqlite", "lease", "lookup", "log", "sync", "map", "anon"]
parser = argparse.ArgumentParser()
parser.add_argument("form", choices=["threads", "processes", "loop", "ports", "handed"])
parser.add_argument("address")
parser.add_argument("root")
parser.add_argument("--work", choices=WORKS, default="plain")
parser.add_argument("--lock", help="a file that each request locks: by flock, by flock again and again, in memory, or as a database; or opens (`lease`); or beside which it looks for another one (`lookup`)")
parser.add_argument("--close", action="store_true", help="a connection for each request")
parser.add_argument("--log", help="directory of the files that the work `log` and `sync` writes")
parser.add_argument("--file", help="the file of which the work `map` needs pages")
parser.add_argument("--bytes", type=int, help="how much memory of its own the work `anon` needs")
parser.add_argument("--pages", type=int, default=4, help="how many pages each answer needs of the file or the memory")
parser.add_argument("--sleep-ms", type=float, default=0, help="of each answer")
parser.add_argument("--pool", action="store_true", help="of threads, in which the loop has its work done")
parser.add_argument("--feed", help="address of a redis, of which each message is pushed to those who stay connected")
args = parser.parse_args()

LOCK = threading.Lock()
LOCAL = threading.local()
LIBC = ctypes.CDLL(None)
SHARED = None
if args.work in ("mutex", "pi", "semaphore"):
    with open(args.lock, "r+b") as file:
        MEMORY = mmap.mmap(file.fileno(), 4096)
    # All zero is a mutex of one process. Its waiters and owners find each other only if it says that it is shared.
    SHARED = (ctypes.c_char * 64).from_buffer(MEMORY)
    ATTRIBUTES = ctypes.create_string_buffer(64)
    LIBC.pthread_mutexattr_init(ATTRIBUTES)
    LIBC.pthread_mutexattr_setpshared(ATTRIBUTES, 1)
    if args.work == "pi":
        # PTHREAD_PRIO_INHERIT and PTHREAD_MUTEX_ROBUST: who has it is in the word that others sleep on.
        LIBC.pthread_mutexattr_setprotocol(ATTRIBUTES, 1)
        LIBC.pthread_mutexattr_setrobust(ATTRIBUTES, 1)
    if args.work in ("mutex", "pi"):
        LIBC.pthread_mutex_init(SHARED, ATTRIBUTES)
    else:
        LIBC.sem_init(SHARED, 1, 1)
MIB = 1 << 20


def mapped(size, protection, flags, file, advice):
    """The address of a mapping. C's own call, because Python's has no address where the mapping is read only."""
    LIBC.mmap.restype = ctypes.c_void_p
    LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    address = LIBC.mmap(None, size, protection, flags, file, 0)
    if address == ctypes.c_void_p(-1).value:
        raise OSError("cannot map memory")
    LIBC.madvise(ctypes.c_void_p(address), ctypes.c_size_t(size), advice)
    return address


def map_file():
    """Address and bytes of a file. It is read once, by long requests, and then needed page by page, as in a database."""
    file = os.open(args.file, os.O_RDONLY)
    size = os.fstat(file).st_size
    for at in range(0, size, MIB):
        os.posix_fadvise(file, at, MIB, os.POSIX_FADV_WILLNEED)
        os.pread(file, MIB, at)
    return mapped(size, mmap.PROT_READ, mmap.MAP_SHARED, file, mmap.MADV_RANDOM), size


def take_memory():
    """Address and bytes of memory of our own, all of it in use. A huge page would be swapped as a whole."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    address = mapped(args.bytes, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, mmap.MADV_NOHUGEPAGE)
    # Not zero: the kernel swaps no such page out.
    some = os.urandom(MIB)
    for at in range(0, args.bytes, MIB):
        ctypes.memmove(address + at, some, min(MIB, args.bytes - at))
    return address, args.bytes


ADDRESS, SIZE = map_file() if args.work == "map" else take_memory() if args.work == "anon" else (None, 0)
COUNT = itertools.count()
PUSHED_EVERY_S = 0.2
FED = asyncio.Event()
UPGRADE = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
FRAME = b"\x82\x08"  # A final binary frame with eight bytes of payload (RFC 6455).
host, port = args.address.rsplit(":", 1)
here = (host, int(port))


def lock_file():
    """Locks the file for each request anew, as PHP locks sessions."""
    with open(args.lock) as file:
        if args.work == "flock":
            fcntl.flock(file, fcntl.LOCK_EX)
        while args.work == "try":
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.02)
        time.sleep(args.sleep_ms / 1000)


def write_row():
    """Changes a row of a database that others change, too. SQLite asks for its lock again and again."""
    if not hasattr(LOCAL, "database"):
        LOCAL.database = sqlite3.connect(args.lock + ".db", timeout=60, isolation_level=None)
        # It must not wait for the disk.
        LOCAL.database.execute("PRAGMA synchronous=OFF")
        LOCAL.database.execute("PRAGMA journal_mode=MEMORY")
    LOCAL.database.execute("BEGIN IMMEDIATE")
    LOCAL.database.execute("UPDATE stock SET n = n + 1")
    LOCAL.database.execute("COMMIT")


if args.work == "sqlite":
    if os.path.exists(args.lock + ".db"):
        # Of an earlier process, which may have been ended in the middle of a write.
        os.unlink(args.lock + ".db")
    with sqlite3.connect(args.lock + ".db") as database:
        database.execute("CREATE TABLE IF NOT EXISTS stock (n)")
        database.execute("INSERT INTO stock VALUES (0)")


def note():
    """Writes a short file anew, as mail servers and queues do, and waits until it is on the disk."""
    path = os.path.join(args.log, str(next(COUNT) % 64))
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.write(file, b"x" * 2048)
    if args.work == "sync":
        # With all that others have written to this file system.
        LIBC.syncfs(file)
    else:
        os.fsync(file)
    os.close(file)


def touch():
    """Needs some pages. A call of C's lets go of the interpreter's lock: while one thread waits for a page, others go on."""
    for _ in range(args.pages):
        page = ADDRESS + random.randrange(SIZE // mmap.PAGESIZE) * mmap.PAGESIZE
        LIBC.strnlen(ctypes.c_void_p(page), ctypes.c_size_t(1))


def answer(path):
    """What a request is answered with."""
    with open(os.path.join(args.root, os.path.basename(path)), "rb") as file:
        body = file.read()
    if args.work == "gzip":
        return zlib.compress(body)
    if args.work in ("map", "anon"):
        touch()
    if args.work in ("log", "sync"):
        note()
    elif args.work == "lock":
        # As a cache or a log that one thread at a time may use, and that is slow for a reason of its own.
        with LOCK:
            time.sleep(args.sleep_ms / 1000)
    elif args.work in ("flock", "try"):
        lock_file()
    elif args.work in ("mutex", "pi"):
        LIBC.pthread_mutex_lock(SHARED)
        LIBC.pthread_mutex_unlock(SHARED)
    elif args.work == "semaphore":
        LIBC.sem_wait(SHARED)
        LIBC.sem_post(SHARED)
    elif args.work == "sqlite":
        write_row()
    elif args.work == "lease":
        open(args.lock, "r+b").close()
    elif args.work == "lookup":
        # A name that nobody has asked for yet: only the file system knows that there is no such file.
        os.path.exists(f"{args.lock}-{os.getpid()}-{next(COUNT)}")
        time.sleep(args.sleep_ms / 1000)
    elif args.work == "interpret":
        # The interpreter's own lock: one thread computes, the others wait.
        return str(sum(byte * 31 % 7 for byte in body)).encode()
    elif args.sleep_ms and args.work != "poll":
        time.sleep(args.sleep_ms / 1000)
    return body


def head(body):
    """What goes before an answer."""
    closing = "Connection: close\r\n" if args.close else ""
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{closing}\r\n".encode()


class Asked(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        body = answer(self.path)
        self.wfile.write(head(body) + body)
        self.close_connection = args.close

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn if args.form == "threads" else socketserver.ForkingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


async def push(writer, request):
    """A connection that stays: a message goes over it now and then, as a frame of a WebSocket or as an event of a stream of text."""
    is_frame = b"upgrade: websocket" in request.lower()
    writer.write(UPGRADE if is_frame else EVENTS)
    while True:
        await (FED.wait() if args.feed else asyncio.sleep(PUSHED_EVERY_S))
        now = time.monotonic_ns()
        writer.write(FRAME + now.to_bytes(8, "big") if is_frame else b"data: %d\n\n" % now)
        await writer.drain()


async def feed():
    """Wakes the connections that stay, at each message that comes from redis."""
    at, port = args.feed.rsplit(":", 1)
    while True:
        try:
            reader, writer = await asyncio.open_connection(at, int(port))
            writer.write(b"SUBSCRIBE news\r\n")
            while await reader.read(65536):
                FED.set()
                FED.clear()
        except OSError:
            pass
        await asyncio.sleep(0.1)


async def converse(reader, writer):
    """One connection of the event loop."""
    try:
        while request := await reader.readuntil(b"\r\n\r\n"):
            path = request.split()[1].decode()
            if path == "/events":
                await push(writer, request)
            if args.work == "poll":
                await asyncio.sleep(args.sleep_ms / 1000)
            if args.pool:
                body = await asyncio.get_running_loop().run_in_executor(None, answer, path)
            else:
                body = answer(path)
            writer.write(head(body) + body)
            await writer.drain()
            if args.close:
                break
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()


async def loop():
    # Of several processes each has a socket of its own at the same port.
    server = await asyncio.start_server(converse, *here, backlog=128, reuse_port=args.form == "ports")
    feeding = [feed()] if args.feed else []
    await asyncio.gather(server.serve_forever(), *feeding)


def take(connection):
    """A connection that another process has accepted."""
    try:
        Asked(connection, connection.getpeername(), None)
    except OSError:
        pass
    connection.close()


def work_for(master):
    while descriptors := socket.recv_fds(master, 1, 1)[1]:
        connection = socket.socket(fileno=descriptors[0])
        threading.Thread(target=take, args=[connection], daemon=True).start()
    # The master has ended.
    os._exit(0)


def hand_over():
    """It takes connections, and hands them to two other processes by turns."""
    workers = []
    for _ in range(2):
        master, worker = socket.socketpair()
        if os.fork() == 0:
            master.close()
            work_for(worker)
        worker.close()
        workers.append(master)
    server = socket.create_server(here, backlog=128)
    for master in itertools.cycle(workers):
        connection = server.accept()[0]
        socket.send_fds(master, [b"x"], [connection.fileno()])
        connection.close()


if args.form == "ports":
    os.fork()
if args.form in ("loop", "ports"):
    asyncio.run(loop())
elif args.form == "handed":
    hand_over()
else:
    Server(here, Asked).serve_forever()
