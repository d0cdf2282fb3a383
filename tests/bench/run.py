#!/usr/bin/env python3
"""Benchmarks: Kamailio 5.6 and Eaves on one machine, in one run, alternating.

Each round starts the peer, then ours, on loopback with the same users, and drives both with
sipload: paced at 1,000 operations a second, then saturated.  Figures are CPU of all of a server's
processes per operation (kernel included), medians over the rounds with their extremes; the ratio is
the median of the rounds' ratios.  Prints tables and writes docs/benchmarks.md.

Only processes started here are stopped.  Run it on an otherwise idle machine.
"""

import argparse
import os
import platform
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
WORKS = ("reg", "rereg", "call", "msg", "options")
WINDOW = {"reg": 100, "rereg": 100, "call": 800, "msg": 200, "options": 200}
# Packets that a server forwards (or answers) for one operation: what the floor is counted from.
FORWARDED = {"reg": 2, "rereg": 1, "call": 6.5, "msg": 2, "options": 1}
LATENCY = {"reg": "final", "rereg": "final", "call": "ringing", "msg": "final",
           "options": "final"}
TARGET = {"reg", "call", "msg"}  # at most half of the peer's CPU


def say(*words):
    print(*words, file=sys.stderr, flush=True)


class Server:
    """One server process tree in a folder of its own."""

    name = ""

    def __init__(self, opt, port, users, durable=False, challenged=False):
        self.opt, self.port, self.users = opt, port, users
        self.durable, self.challenged = durable, challenged
        self.process = None
        self.folder = tempfile.mkdtemp(prefix="eaves-bench-")

    def __enter__(self):
        self.log = open(os.path.join(self.folder, "log"), "w")
        self.process = subprocess.Popen(
            self.command(), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=self.log,
            stderr=subprocess.STDOUT, start_new_session=True)
        try:
            self.wait_ready()
            self.ready()
        except Exception:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)  # the session that was made above
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def wait_ready(self, seconds=60):
        ping = ("OPTIONS sip:example.test SIP/2.0\r\n"
                "Via: SIP/2.0/UDP 127.0.0.1:{0};branch=z9hG4bK{1}\r\nMax-Forwards: 70\r\n"
                "From: <sip:ping@example.test>;tag=1\r\nTo: <sip:example.test>\r\n"
                "Call-ID: ping{1}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n")
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind(("127.0.0.1", 0))
        s.settimeout(0.2)
        end = time.monotonic() + seconds
        n = 0
        while time.monotonic() < end and self.process.poll() is None:
            n += 1
            text = ping.format(s.getsockname()[1], f"{os.getpid()}x{n}")
            try:
                s.sendto(text.encode(), ("127.0.0.1", self.port))
                if s.recv(4096).startswith(b"SIP/2.0"):
                    s.close()
                    return
            except (socket.timeout, ConnectionRefusedError):
                time.sleep(0.05)
        s.close()
        with open(os.path.join(self.folder, "log")) as f:
            raise RuntimeError(f"{self.name} does not answer:\n" + f.read()[-2000:])

    def ready(self):
        pass

    def load(self, work, *args):
        """One run of sipload: its figures by name."""
        cmd = [self.opt.sipload, work, "--target", f"127.0.0.1:{self.port}", "--users",
               str(self.users), "--pid", str(self.process.pid), "--port", "31000",
               *map(str, args)]
        r = subprocess.run(cmd, capture_output=True, text=True, timeout=900)
        figures = {}
        for line in r.stdout.splitlines():
            name, value, _ = line.split(None, 2)
            figures[name] = float(value)
        if "rate" not in figures:
            raise RuntimeError(" ".join(cmd) + ": " + r.stderr)
        return figures


class Kamailio(Server):
    name = "Kamailio"

    def command(self):
        cmd = ["/usr/sbin/kamailio", "-f", os.path.join(HERE, "kamailio", "one.cfg"), "-l",
               f"udp:127.0.0.1:{self.port}", "-m", "4096", "-M", "32", "-n",
               # two processes that write one SQLite file fail each other's writes
               "1" if self.durable else str(self.opt.workers), "-x", "fm", "-b", "4194304", "-DD", "-Y", self.folder,
               "-w", self.folder, "-P", os.path.join(self.folder, "pid"), "-A",
               f"NUSERS={self.users}"]
        if self.challenged:
            cmd += ["-A", "CALLAUTH"]
        if self.durable:
            path = os.path.join(self.folder, "location.sqlite")
            db = sqlite3.connect(path)
            db.execute("PRAGMA journal_mode=WAL")
            for script in ("standard-create.sql", "usrloc-create.sql"):
                with open("/usr/share/kamailio/db_sqlite/" + script) as f:
                    db.executescript(f.read())
            db.commit()
            db.close()
            cmd += ["-A", f'DBURL="sqlite:///{path}"']
        return cmd


class Eaves(Server):
    name = "Eaves"

    def command(self):
        policy = "challenge" if self.challenged else "trusted"
        store = "sqlite" if self.durable else "memory"
        path = os.path.join(self.folder, "eaves.yaml")
        with open(path, "w") as f:
            f.write(f"domain: example.test\n"
                    f"listeners:\n"
                    f"  - {{transport: udp, address: 127.0.0.1, port: {self.port}, "
                    f"policy: {policy}}}\n"
                    f"workers: {self.opt.our_workers}\n"
                    f"data_dir: {self.folder}\n"
                    f"store: {store}\n"
                    f"net: {{transactions: 2000000}}\n"
                    f"auth: {{lock_failures: 0, nonce_life_s: 3600}}\n"
                    f"log: {{level: warn}}\n")
        return [self.opt.eaves, "--config", path]

    def ready(self):
        users = "".join(f"u{i} p{i}\n" for i in range(self.users))
        r = subprocess.run([self.opt.eavesctl, "--socket",
                            os.path.join(self.folder, "admin.sock"), "user", "import"],
                           input=users, capture_output=True, text=True, timeout=300)
        if r.returncode:
            raise RuntimeError("user import: " + r.stdout + r.stderr)


SERVERS = (Kamailio, Eaves)


class Results:
    """(variant, work, figure) -> {server: [one a round]}"""

    def __init__(self):
        self.v = {}

    def add(self, variant, work, server, figures):
        for name, value in figures.items():
            self.v.setdefault((variant, work, name), {}).setdefault(server, []).append(value)

    def get(self, variant, work, name, server):
        return self.v.get((variant, work, name), {}).get(server, [])

    def ratio(self, variant, work, name):
        a = self.get(variant, work, name, "Kamailio")
        b = self.get(variant, work, name, "Eaves")
        return [y / x for x, y in zip(a, b) if x > 0]


def spread(v, digits=1):
    if not v:
        return "-"
    m = f"{statistics.median(v):.{digits}f}"
    return m if len(v) < 2 else f"{m} ({min(v):.{digits}f} to {max(v):.{digits}f})"


def cell(opt, server, work, mode):
    args = ["--seconds", opt.seconds, "--warm", opt.warm]
    if mode == "paced":
        args += ["--rate", 1000]
    else:
        # transactions outlive their calls: the memory of both is warm after some seconds
        args = ["--seconds", opt.seconds, "--warm", opt.warm * (3 if work in ("call", "msg")
                                                                else 1)]
        args += ["--window", WINDOW[work]]
    return server.load(work, *args)


def run_variant(opt, results, variant, works, modes, **how):
    """Rounds of peer, ours, peer, ours."""
    for n in range(opt.rounds):
        for cls in SERVERS:
            say(f"{variant}: round {n + 1} of {opt.rounds}, {cls.name}")
            with cls(opt, opt.port, opt.users, **how) as s:
                s.load("reg", "--window", 50, "--count", opt.users)
                for mode in modes:
                    for work in works:
                        f = cell(opt, s, work, mode)
                        results.add(variant, work + "@" + mode, cls.name, f)


def run_latency(opt, results):
    """Both at half of what the peer does at most."""
    for work in ("reg", "call", "msg"):
        top = statistics.median(results.get("memory", work + "@saturated", "rate", "Kamailio"))
        for _ in range(opt.rounds):
            for cls in SERVERS:
                say(f"latency: {work} at {top / 2:.0f}/s, {cls.name}")
                with cls(opt, opt.port, opt.users) as s:
                    s.load("reg", "--window", 50, "--count", opt.users)
                    f = s.load(work, "--rate", int(top / 2), "--seconds", opt.seconds, "--warm",
                               opt.warm)
                results.add("latency", work, cls.name, f)


def run_capacity(opt, results):
    """Memory of bindings; cost per message while transactions are live."""
    bindings = 10000 if opt.quick else 100000
    ringing = 5000 if opt.quick else 50000  # each a server and a client transaction
    for _ in range(opt.rounds):
        for cls in SERVERS:
            say(f"capacity: {bindings} bindings, {cls.name}")
            with cls(opt, opt.port, bindings) as s:
                # the first half fills what loading the users left behind in the allocator
                half = bindings // 2
                s.load("reg", "--window", 50, "--count", half)
                f = s.load("reg", "--window", 50, "--count", half, "--first", half)
                grown = f["server_pss_after"] - f["server_pss_before"]
                results.add("capacity", "bindings", cls.name,
                            {"bytes": grown * 1024 / half, "failed": f["failed"]})
            for live in (0, ringing):
                say(f"capacity: {2 * live} live transactions, {cls.name}")
                with cls(opt, opt.port, opt.users) as s:
                    s.load("reg", "--window", 50, "--count", opt.users)
                    f = s.load("msg", "--rate", 5000, "--seconds", opt.seconds, "--warm",
                               opt.warm, "--ringing", live)
                results.add("capacity", f"live {2 * live}", cls.name, f)
    return bindings, ringing


def run_floor(opt):
    """us a forwarded packet: saturated, and at the packet rate of each work at 1,000 a second."""
    def one(rate):
        r = subprocess.run([opt.floor, "600", str(rate), str(opt.seconds)],
                           capture_output=True, text=True, timeout=120)
        return float(r.stdout.split("forward_cpu ")[1].split()[0])

    floor = {}
    for work in WORKS:
        floor[work + "@saturated"] = one(0) * FORWARDED[work]
        floor[work + "@paced"] = one(int(1000 * FORWARDED[work])) * FORWARDED[work]
    return floor


class Report:
    def __init__(self):
        self.lines = []

    def add(self, line=""):
        self.lines.append(line)

    def table(self, head, rows):
        self.add()
        self.add("| " + " | ".join(head) + " |")
        self.add("|" + "---|" * len(head))
        for r in rows:
            self.add("| " + " | ".join(r) + " |")


def verdict(ratio, limit):
    if not ratio:
        return "-"
    return "reached" if statistics.median(ratio) <= limit else "**missed**"


def cpu_rows(results, variant, floor, works, modes):
    rows = []
    for work in works:
        for mode in modes:
            key = f"{work}@{mode}"
            ratio = results.ratio(variant, key, "server_cpu")
            failed = [max(results.get(variant, key, "failed", c.name) or [0]) for c in SERVERS]
            rows.append([work, mode,
                         spread(results.get(variant, key, "server_cpu", "Kamailio")),
                         spread(results.get(variant, key, "server_cpu", "Eaves")),
                         spread(ratio, 2),
                         f"{floor[key]:.1f}" if floor else "-",
                         spread(results.get(variant, key, "rate", "Kamailio"), 0),
                         spread(results.get(variant, key, "rate", "Eaves"), 0),
                         " / ".join(spread(results.get(variant, key, "server_kernel",
                                                       c.name)[:1], 0) for c in SERVERS),
                         " / ".join(f"{x:.0f}" for x in failed),
                         verdict(ratio, 0.5) if work in TARGET and variant == "memory" else ""])
    return rows


CPU_HEAD = ["work", "mode", "Kamailio us/op", "Eaves us/op", "ratio", "floor us/op",
            "Kamailio rate/s", "Eaves rate/s", "kernel % K / E", "failed K / E", "at most half"]


def machine():
    model = "?"
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return f"{model}, {os.cpu_count()} processors, Linux {platform.release()}"


def kamailio_version():
    r = subprocess.run(["/usr/sbin/kamailio", "-v"], capture_output=True, text=True)
    return (r.stdout.split("\n") or ["?"])[0].replace("version: ", "")


def write_head(opt, rep, load):
    rep.add("# Benchmarks")
    rep.add()
    rep.add("Written by `make bench` (tests/bench/run.py): do not edit.  Its method stands at the "
            "head of that file;")
    rep.add("the peer's configuration is tests/bench/kamailio/one.cfg, the generator "
            "tests/bench/sipload.")
    rep.add()
    rep.add(f"- {time.strftime('%Y-%m-%d')}, {machine()}")
    rep.add(f"- peer: {kamailio_version()}; {opt.workers} processes for messages; "
            f"Eaves: {opt.our_workers or 'its default of'} workers"
            + ("" if opt.our_workers else " (one for every four cores)"))
    rep.add(f"- {opt.rounds} rounds, {opt.seconds} s each after {opt.warm} s of warming, "
            f"{opt.users} users; load average before: {load:.2f}")
    rep.add("- CPU of all of a server's processes per operation, kernel included: medians "
            "(least to most); ratio Eaves / Kamailio, by round")
    rep.add("- floor: the same packets through a bare forwarder (recvmmsg, sendmmsg)")


def write_report(opt, results, floor, sizes, load):
    rep = Report()
    write_head(opt, rep, load)
    if "memory" in opt.only:
        rep.add("\n## Memory against memory")
        rep.table(CPU_HEAD, cpu_rows(results, "memory", floor, WORKS, ("saturated", "paced")))
    if "challenged" in opt.only:
        rep.add("\n## INVITE and MESSAGE challenged too")
        rep.table(CPU_HEAD, cpu_rows(results, "challenged", None, ("call", "msg"),
                                     ("saturated", "paced")))
    if "durable" in opt.only:
        rep.add("\n## Durable against durable")
        rep.add("\nKamailio: usrloc db_mode 1 (write-through), SQLite in WAL mode, one "
                "process\n(two refuse each other's writes with 500).  Eaves: store sqlite.")
        rep.table(CPU_HEAD, cpu_rows(results, "durable", None, ("reg", "rereg"),
                                     ("saturated", "paced")))
    if "latency" in opt.only and "memory" in opt.only:
        write_latency(rep, results)
    if sizes:
        write_capacity(rep, results, *sizes)
    return "\n".join(rep.lines) + "\n"


def write_latency(rep, results):
    rows = []
    for work in ("reg", "call", "msg"):
        for q in ("p50", "p99"):
            name = f"{LATENCY[work]}_{q}"
            rows.append([work, q, spread(results.get("latency", work, "rate", "Eaves"), 0),
                         spread(results.get("latency", work, name, "Kamailio"), 0),
                         spread(results.get("latency", work, name, "Eaves"), 0),
                         spread(results.ratio("latency", work, name), 2)])
    rep.add("\n## Response time at half of the peer's top rate")
    rep.add("\nMicroseconds; of a call: from INVITE to 180 at the caller.")
    rep.table(["work", "", "rate/s", "Kamailio", "Eaves", "ratio"], rows)


def write_capacity(rep, results, bindings, ringing):
    ratio = results.ratio("capacity", "bindings", "bytes")
    rep.add("\n## Capacity")
    rep.table(["memory (Pss)", "Kamailio", "Eaves", "ratio", "at most the peer's"],
              [[f"bytes a binding, second half of {bindings}",
                spread(results.get("capacity", "bindings", "bytes", "Kamailio"), 0),
                spread(results.get("capacity", "bindings", "bytes", "Eaves"), 0),
                spread(ratio, 2), verdict(ratio, 1.0)]])
    rows = []
    for live in (0, 2 * ringing):
        key = f"live {live}"
        rows.append([f"{live}", *[spread(results.get("capacity", key, "server_cpu", c.name))
                                  for c in SERVERS],
                     " / ".join(f"{max(results.get('capacity', key, 'failed', c.name) or [0]):.0f}"
                                for c in SERVERS)])
    rep.table(["live transactions", "Kamailio us/MESSAGE at 5,000/s", "Eaves", "failed K / E"],
              rows)


def options():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--build", default="build/release")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=5)
    p.add_argument("--warm", type=float, default=2)
    p.add_argument("--users", type=int, default=10000)
    p.add_argument("--workers", type=int, default=os.cpu_count(), help="the peer's processes")
    p.add_argument("--our-workers", type=int, default=0, help="0: as the server chooses")
    p.add_argument("--port", type=int, default=5960)
    p.add_argument("--only", nargs="+", default=["memory", "challenged", "durable", "latency",
                                                 "capacity"])
    p.add_argument("--quick", action="store_true", help="one short round: does it work")
    p.add_argument("--output", default=os.path.join(ROOT, "docs", "benchmarks.md"))
    opt = p.parse_args()
    if opt.quick:
        opt.rounds, opt.seconds, opt.warm, opt.users = 1, 1.5, 0.5, 2000
    build = os.path.join(ROOT, opt.build)
    opt.eaves = os.path.join(build, "eaves-combined")
    opt.eavesctl = os.path.join(build, "eavesctl")
    opt.sipload = os.path.join(build, "bench", "sipload")
    opt.floor = os.path.join(build, "bench", "floor")
    return opt


def main():
    opt = options()
    results = Results()
    load = os.getloadavg()[0]
    sizes = None
    both = ("paced", "saturated")
    floor = run_floor(opt) if "memory" in opt.only else None
    if "memory" in opt.only:
        run_variant(opt, results, "memory", WORKS, both)
    if "challenged" in opt.only:
        run_variant(opt, results, "challenged", ("call", "msg"), both, challenged=True)
    if "durable" in opt.only:
        run_variant(opt, results, "durable", ("reg", "rereg"), both, durable=True)
    if "latency" in opt.only and "memory" in opt.only:
        run_latency(opt, results)
    if "capacity" in opt.only:
        sizes = run_capacity(opt, results)
    text = write_report(opt, results, floor, sizes, load)
    print(text)
    if not opt.quick:
        with open(opt.output, "w") as f:
            f.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
