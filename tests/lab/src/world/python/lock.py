"""Holds a mutex in a shared file for a while, again and again, as programs with shared memory do."""

import ctypes
import mmap
import sys
import time

LIBC = ctypes.CDLL(None)
path, held, free = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
with open(path, "r+b") as file:
    MEMORY = mmap.mmap(file.fileno(), 4096)
# The server has made it.
MUTEX = (ctypes.c_char * 64).from_buffer(MEMORY)
while True:
    LIBC.pthread_mutex_lock(MUTEX)
    time.sleep(held)
    LIBC.pthread_mutex_unlock(MUTEX)
    time.sleep(free)
