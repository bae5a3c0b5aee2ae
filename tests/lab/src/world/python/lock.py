"""Holds what others need for a while, again and again: a mutex or a semaphore in a shared file, a lease on it, or a database beside it."""

import ctypes
import fcntl
import mmap
import os
import signal
import sqlite3
import sys
import time

LIBC = ctypes.CDLL(None)
kind, path, held, free = sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])


def shared():
    """The memory in the file, which the server has made."""
    with open(path, "r+b") as file:
        return (ctypes.c_char * 64).from_buffer(mmap.mmap(file.fileno(), 4096))


def take_lease():
    """Whoever opens the file for writing waits until we give it up, and we are told of that by a signal. Nobody may have it open so."""
    while True:
        try:
            fcntl.fcntl(FILE, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            return
        except BlockingIOError:
            time.sleep(0.001)


if kind in ("mutex", "pi", "semaphore"):
    SHARED = shared()

if kind == "lease":
    signal.signal(signal.SIGIO, lambda *_: None)
    FILE = os.open(path, os.O_RDONLY)
    take, give = take_lease, lambda: fcntl.fcntl(FILE, fcntl.F_SETLEASE, fcntl.F_UNLCK)
elif kind in ("mutex", "pi"):
    take, give = lambda: LIBC.pthread_mutex_lock(SHARED), lambda: LIBC.pthread_mutex_unlock(SHARED)
elif kind == "semaphore":
    take, give = lambda: LIBC.sem_wait(SHARED), lambda: LIBC.sem_post(SHARED)
else:
    DATABASE = sqlite3.connect(path + ".db", timeout=60, isolation_level=None)
    take, give = lambda: DATABASE.execute("BEGIN IMMEDIATE"), lambda: DATABASE.execute("COMMIT")

while True:
    take()
    time.sleep(held)
    give()
    time.sleep(free)
