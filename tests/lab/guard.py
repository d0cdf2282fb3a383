#!/usr/bin/python3
"""Starts one server of a host, as systemd does on a real machine.

usage: guard.py LOG PID STATUS [--health FILE ADDRESS PORT] -- COMMAND...

Writes the server's process id to PID and, when it has ended, its exit status (of a signal: -number) to
STATUS.  Ends with the server; it does not start it again.  --health: deploy/health.py's check besides,
which knows at once when the server has ended.
"""
import os
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "deploy"))
import health  # noqa: E402


def write(path, value):
    with open(path + ".new", "w", encoding="ascii") as f:
        f.write(f"{value}\n")
    os.rename(path + ".new", path)


def main():
    words = sys.argv[1:]
    command = words[words.index("--") + 1:]
    log, pid, status, *check = words[:words.index("--")]
    with open(log, "ab") as f:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=f, stderr=f,
                                 start_new_session=True)
    write(pid, child.pid)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    if check:
        health.watch(check[1], (check[2], int(check[3])), os.pidfd_open(child.pid))
    write(status, child.wait())


if __name__ == "__main__":
    main()
