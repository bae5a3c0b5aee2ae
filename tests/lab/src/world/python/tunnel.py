"""One end of a tunnel, as a VPN keeps it up: packets of an interface go in datagrams to the other end, and come out of such there."""

import fcntl
import os
import socket
import struct
import sys
import threading

# From linux/if_tun.h: the interface has packets of IP or frames of Ethernet, and nothing is put before them.
TUNSETIFF, IFF_NO_PI = 0x400454CA, 0x1000
MODES = {"tun": 0x0001, "tap": 0x0002}
LONGEST = 65536

name, mode, here, there = sys.argv[1], MODES[sys.argv[2]], sys.argv[3], sys.argv[4]


def end(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


tunnel = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tunnel, TUNSETIFF, struct.pack("16sH22x", name.encode(), mode | IFF_NO_PI))
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(end(here))


def take_in():
    while True:
        os.write(tunnel, datagrams.recv(LONGEST))


threading.Thread(target=take_in, daemon=True).start()
other = end(there)
while True:
    datagrams.sendto(os.read(tunnel, LONGEST), other)
