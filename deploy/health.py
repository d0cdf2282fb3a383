#!/usr/bin/python3
"""Says in a file, for keepalived's track_file, whether a server answers: 0, or 1 when it does not.

usage: health.py FILE ADDRESS PORT

Asks OPTIONS by UDP ten times a second; half a second without a response is 1.  The address is one of the
node's own: the service address may be elsewhere.  docs/cluster.md says what keepalived does with it.
"""
import os
import select
import socket
import sys
import time

PROBE_S, SILENT_S = 0.1, 0.5


def write(path, value):
    """In place, and closed: that is when keepalived reads it."""
    with open(path, "w", encoding="ascii") as f:
        f.write(value + "\n")


def probe(sock, at, n):
    own = sock.getsockname()
    text = (f"OPTIONS sip:{at[0]}:{at[1]} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {own[0]}:{own[1]};rport;branch=z9hG4bKhealth{os.getpid()}x{n}\r\n"
            f"Max-Forwards: 10\r\nFrom: <sip:health@{at[0]}>;tag=1\r\nTo: <sip:{at[0]}>\r\n"
            f"Call-ID: health{os.getpid()}x{n}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n")
    try:
        sock.send(text.encode())
    except OSError:
        pass  # it does not run


def answered(sock):
    try:
        return sock.recv(4096).startswith(b"SIP/2.0")
    except OSError:
        return False


def watch(path, at, ended=None):
    """For ever, or until the descriptor `ended` is readable; then the file has 1."""
    write(path, "1")
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect(at)
    state, heard, n, due = "1", -SILENT_S, 0, 0.0
    while True:
        now = time.monotonic()
        if now >= due:
            n += 1
            probe(sock, at, n)
            due = now + PROBE_S
        ready, _, _ = select.select([sock] + ([ended] if ended else []), [], [],
                                    max(0, due - now))
        if ended in ready:
            write(path, "1")
            return
        if sock in ready and answered(sock):
            heard = time.monotonic()
        wanted = "0" if time.monotonic() - heard < SILENT_S else "1"
        if wanted != state:
            state = wanted
            write(path, state)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    watch(sys.argv[1], (sys.argv[2], int(sys.argv[3])))
