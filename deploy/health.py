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
    at, own = (f"[{a[0]}]:{a[1]}" if ":" in a[0] else f"{a[0]}:{a[1]}" for a in (at, own))
    host = at.rpartition(":")[0]
    text = (f"OPTIONS sip:{at} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {own};rport;branch=z9hG4bKhealth{os.getpid()}x{n}\r\n"
            f"Max-Forwards: 10\r\nFrom: <sip:health@{host}>;tag=1\r\nTo: <sip:{host}>\r\n"
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
    sock = socket.socket(socket.AF_INET6 if ":" in at[0] else socket.AF_INET, socket.SOCK_DGRAM)
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


def main(argv):
    if argv[1:] in (["-h"], ["--help"]):
        print(__doc__.strip())
        return
    if len(argv) != 4:
        sys.exit(__doc__.strip())
    path, address, port = argv[1:]
    if not port.isdecimal() or not 0 < int(port) < 65536:
        sys.exit(f"health.py: {port} is no port")
    try:
        watch(path, (address, int(port)))
    except socket.gaierror as e:
        sys.exit(f"health.py: {address}: {e.strerror}")
    except OSError as e:
        sys.exit(f"health.py: {e.filename or f'{address}:{port}'}: {e.strerror}")


if __name__ == "__main__":
    main(sys.argv)
