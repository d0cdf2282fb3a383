#!/usr/bin/python3
"""Keeps one server of a host: what systemd and a health check do on a real machine.

usage: guard.py TRACK ADDRESS PORT LOG PID -- COMMAND...

Starts the command, writes its process id to PID, and writes to TRACK, which keepalived watches, 0 while
the server answers OPTIONS on its own address and 1 when it does not, or has ended.  Ends with the
server; it does not start it again.
"""
import os
import select
import signal
import socket
import subprocess
import sys
import time

PROBE_S, SILENT_S = 0.1, 0.5


def write(path, value):
    # in place, since keepalived watches this very file
    with open(path, "w", encoding="ascii") as f:
        f.write(value + "\n")


def probe(sock, at, n):
    text = (f"OPTIONS sip:{at[0]}:{at[1]} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {sock.getsockname()[0]}:{sock.getsockname()[1]};rport;"
            f"branch=z9hG4bKguard{os.getpid()}x{n}\r\nMax-Forwards: 10\r\n"
            f"From: <sip:guard@{at[0]}>;tag=1\r\nTo: <sip:{at[0]}>\r\n"
            f"Call-ID: guard{os.getpid()}x{n}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n")
    try:
        sock.sendto(text.encode(), at)
    except OSError:
        pass


def main():
    track, address, port, log, pid_file = sys.argv[1:6]
    command = sys.argv[7:]
    at = (address, int(port))
    write(track, "1")
    with open(log, "ab") as f:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=f, stderr=f,
                                 start_new_session=True)
    with open(pid_file, "w", encoding="ascii") as f:
        f.write(f"{child.pid}\n")
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, 0))
    ended = os.pidfd_open(child.pid)
    state, heard, n, next_probe = "1", 0.0, 0, 0.0
    while True:
        now = time.monotonic()
        if now >= next_probe:
            n += 1
            probe(sock, at, n)
            next_probe = now + PROBE_S
        ready, _, _ = select.select([sock, ended], [], [], max(0, next_probe - now))
        if ended in ready:
            write(track, "1")
            return child.wait()
        if sock in ready:
            try:
                if sock.recv(4096).startswith(b"SIP/2.0"):
                    heard = time.monotonic()
            except OSError:
                pass
        wanted = "0" if time.monotonic() - heard < SILENT_S else "1"
        if wanted != state:
            state = wanted
            write(track, state)


if __name__ == "__main__":
    sys.exit(main() and 1)
