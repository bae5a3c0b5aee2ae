"""A file system in a process (FUSE), spoken to directly: the files of one directory, read only, and never from the page cache.

The kernel's protocol is of include/uapi/linux/fuse.h, version 7.31. The mount ends with the process.
"""

import argparse
import ctypes
import errno
import os
import stat
import struct
import threading
import time

parser = argparse.ArgumentParser()
parser.add_argument("root")
parser.add_argument("point")
parser.add_argument("--sleep-ms", type=float, default=0, help="before each read, as over a slow network")
args = parser.parse_args()

LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE, FLUSH = 1, 2, 3, 14, 15, 17, 18, 25
INIT, OPENDIR, READDIR, RELEASEDIR, ACCESS, INTERRUPT, BATCH_FORGET = 26, 27, 28, 29, 34, 36, 42
ROOT = 1
AHEAD = 128 << 10

names = sorted(os.listdir(args.root))
opened = {}


def attributes(node):
    found = os.stat(args.root if node == ROOT else os.path.join(args.root, names[node - 2]))
    kind = stat.S_IFDIR | 0o755 if node == ROOT else stat.S_IFREG | 0o644
    size = found.st_size
    return struct.pack("<6Q10I", node, size, size // 512, 0, 0, 0, 0, 0, 0, kind, 1, 0, 0, 0, 4096, 0)


def read(body):
    handle, offset, size = struct.unpack_from("<QQI", body)
    if args.sleep_ms:
        time.sleep(args.sleep_ms / 1000)
    data = os.pread(handle, size, offset)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    return data


def listed(body):
    """The names from an offset on, as many as there is room for."""
    _, offset, room = struct.unpack_from("<QQI", body)
    entries = b""
    for index, name in enumerate(names[offset:], offset):
        name = name.encode()
        entry = struct.pack("<QQII", index + 2, index + 1, len(name), stat.S_IFREG >> 12) + name
        entry += bytes(-len(entry) % 8)
        if len(entries) + len(entry) > room:
            break
        entries += entry
    return entries


def answer(operation, node, body):
    """What a request is answered with; an errno if it fails."""
    if operation == INIT:
        return struct.pack("<4I2H2I2H8I", 7, 31, AHEAD, 1, 12, 9, AHEAD, 1, 32, 0, *[0] * 8)
    if operation == LOOKUP:
        name = body.rstrip(b"\0").decode()
        if name not in names:
            return errno.ENOENT
        child = names.index(name) + 2
        return struct.pack("<4Q2I", child, 0, 3600, 3600, 0, 0) + attributes(child)
    if operation == GETATTR:
        return struct.pack("<Q2I", 3600, 0, 0) + attributes(node)
    if operation == OPEN:
        return struct.pack("<QIi", os.open(os.path.join(args.root, names[node - 2]), os.O_RDONLY), 0, 0)
    if operation == READ:
        return read(body)
    if operation == RELEASE:
        os.close(struct.unpack_from("<Q", body)[0])
        return b""
    if operation == OPENDIR:
        return struct.pack("<QIi", 0, 0, 0)
    if operation == READDIR:
        return listed(body)
    if operation in (RELEASEDIR, ACCESS, FLUSH):
        return b""
    if operation == STATFS:
        return bytes(80)
    return errno.ENOSYS


def serve(device):
    while True:
        try:
            request = os.read(device, AHEAD + 4096)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return
            continue
        _, operation, unique, node = struct.unpack_from("<IIQQ", request)
        if operation in (FORGET, INTERRUPT, BATCH_FORGET):
            continue
        try:
            found = answer(operation, node, request[40:])
        except OSError as error:
            found = error.errno
        failed, data = (-found, b"") if isinstance(found, int) else (0, found)
        os.write(device, struct.pack("<IiQ", 16 + len(data), failed, unique) + data)


device = os.open("/dev/fuse", os.O_RDWR)
libc = ctypes.CDLL(None, use_errno=True)
options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other,max_read={AHEAD}"
# That of a server that has ended, if there is one.
libc.umount2(args.point.encode(), 2)
if libc.mount(b"lab", args.point.encode(), b"fuse.lab", 0, options.encode()) != 0:
    raise OSError(ctypes.get_errno(), "cannot mount")
for _ in range(3):
    threading.Thread(target=serve, args=[device], daemon=True).start()
serve(device)
