"""Holds what others need for a while, again and again: a mutex or a semaphore in a shared file, or a database beside it."""

import ctypes
import mmap
import sqlite3
import sys
import time

LIBC = ctypes.CDLL(None)
kind, path, held, free = sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
# The server has made it.
with open(path, "r+b") as file:
    MEMORY = mmap.mmap(file.fileno(), 4096)
SHARED = (ctypes.c_char * 64).from_buffer(MEMORY)

if kind == "mutex":
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
