"""Holds memory: a part of what is available when it starts, and then more and more, if that is asked."""

import sys
import time

MIB = 1 << 20
part, mib_per_second = float(sys.argv[1]), float(sys.argv[2])
with open("/proc/meminfo") as file:
    available = next(int(line.split()[1]) << 10 for line in file if line.startswith("MemAvailable:"))

held = []
while True:
    # Not zero: the kernel swaps no such page out.
    held.append(bytearray(b"x") * MIB)
    if len(held) * MIB >= part * available:
        while not mib_per_second:
            time.sleep(60)
        time.sleep(1 / mib_per_second)
