"""A server with one thread that waits for nothing but its event loop: each request is answered with a block of a file, read past
the page cache by Linux's own asynchronous I/O. An eventfd tells the loop of completions."""

import ctypes
import mmap
import os
import random
import select
import socket
import struct
import sys

BLOCK = 4096
# x86-64 and, as of AArch64, the general table.
SETUP, GETEVENTS, SUBMIT = (206, 208, 209) if os.uname().machine == "x86_64" else (0, 4, 2)
# struct iocb: data, key, rw_flags, opcode (0: pread), priority, descriptor, buffer, bytes, offset, reserved, flags (1: eventfd), eventfd
IOCB = struct.Struct("<QIiHhIQQqQII")
# struct io_event: data, iocb, result, result2
EVENT = struct.Struct("<QQqq")

libc = ctypes.CDLL(None, use_errno=True)
host, port = sys.argv[1].rsplit(":", 1)
file = os.open(sys.argv[2], os.O_RDONLY | os.O_DIRECT)
blocks = os.fstat(file).st_size // BLOCK

context = ctypes.c_ulong()
if libc.syscall(SETUP, 64, ctypes.byref(context)) != 0:
    sys.exit("io_setup: " + os.strerror(ctypes.get_errno()))
done = os.eventfd(0, os.EFD_NONBLOCK)
epoll = select.epoll()
epoll.register(done, select.EPOLLIN)
server = socket.create_server((host, int(port)), backlog=64)
epoll.register(server, select.EPOLLIN)
connections, buffers = {}, {}


def read(fd):
    buffer = buffers.get(fd)
    if buffer is None:
        buffer = buffers[fd] = mmap.mmap(-1, BLOCK)
    address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    offset = random.randrange(blocks) * BLOCK
    iocb = IOCB.pack(fd, 0, 0, 0, 0, file, address, BLOCK, offset, 0, 1, done)
    iocb = ctypes.create_string_buffer(iocb, IOCB.size)
    pointer = ctypes.c_void_p(ctypes.addressof(iocb))
    if libc.syscall(SUBMIT, context, 1, ctypes.byref(pointer)) != 1:
        sys.exit("io_submit: " + os.strerror(ctypes.get_errno()))


def reap():
    os.eventfd_read(done)
    events = ctypes.create_string_buffer(64 * EVENT.size)
    count = libc.syscall(GETEVENTS, context, 0, 64, events, None)
    for fd, _, result, _ in list(EVENT.iter_unpack(events.raw))[:count]:
        if fd in connections:
            body = buffers[fd][:result]
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {result}\r\n\r\n"
            connections[fd].sendall(head.encode() + body)


while True:
    for fd, _ in epoll.poll():
        if fd == server.fileno():
            connection, _ = server.accept()
            connections[connection.fileno()] = connection
            epoll.register(connection, select.EPOLLIN)
        elif fd == done:
            reap()
        elif connections[fd].recv(4096):
            read(fd)
        else:
            epoll.unregister(fd)
            connections.pop(fd).close()
