#!/usr/bin/env python3
"""Benchmarks: Kamailio 5.6 and Eaves on one machine, in one run, alternating.

Each round starts the peer, then ours, on loopback with the same users, and drives both with
sipload: paced at 1,000 operations a second, then saturated.  Figures are CPU of all of a server's
processes per operation (kernel included), medians over the rounds with their extremes; the ratio is
the median of the rounds' ratios.  One server against one is in one.py, edge and home against edge
and home in tiers.py.  Prints tables and writes docs/benchmarks.md.

Only processes started here are stopped.  Run it on an otherwise idle machine.
"""
import argparse
import os
import platform
import subprocess
import sys
import time

import one
import tiers
from results import Report, Results
from servers import HERE

ROOT = os.path.dirname(os.path.dirname(HERE))
PARTS = ["memory", "challenged", "durable", "latency", "capacity", "tiers"]


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
    rep.add("the peer's configurations are in tests/bench/kamailio, the generator is "
            "tests/bench/sipload.")
    rep.add()
    rep.add(f"- {time.strftime('%Y-%m-%d')}, {machine()}")
    rep.add(f"- peer: {kamailio_version()}; {opt.workers} processes for messages; "
            f"Eaves: {opt.our_workers or 'its default of'} workers"
            + ("" if opt.our_workers else " (one for every four cores)"))
    rep.add(f"- {opt.rounds} rounds, {opt.seconds} s each after {opt.warm} s of warming, "
            f"{opt.users} users; load average before: {load[0]:.2f}, after: "
            f"{os.getloadavg()[0]:.2f}")
    rep.add("- CPU of all of a server's processes per operation, kernel included: medians "
            "(least to most); ratio Eaves / Kamailio, by round")
    rep.add("- floor: the same packets through a bare forwarder (recvmmsg, sendmmsg)")


def run(opt, results):
    """The floor, and what the report must know of the runs."""
    both = ("paced", "saturated")
    floor = one.run_floor(opt) if "memory" in opt.only else None
    if "memory" in opt.only:
        one.run_variant(opt, results, "memory", one.WORKS, both)
    if "challenged" in opt.only:
        one.run_variant(opt, results, "challenged", ("call", "msg"), both, challenged=True)
    if "durable" in opt.only:
        one.run_variant(opt, results, "durable", ("reg", "rereg"), both, durable=True)
    if "latency" in opt.only and "memory" in opt.only:
        one.run_latency(opt, results)
    sizes = one.run_capacity(opt, results) if "capacity" in opt.only else None
    users = 0
    if "tiers" in opt.only:
        tiers.run_cpu(opt, results)
        tiers.run_second_place(opt, results)
        users = tiers.run_memory(opt, results)
    return floor, sizes, users


def write_report(opt, results, floor, sizes, users, load):
    rep = Report()
    write_head(opt, rep, load)
    one.write_cpu(rep, results, opt.only, floor)
    if "latency" in opt.only and "memory" in opt.only:
        one.write_latency(rep, results)
    if sizes:
        one.write_capacity(rep, results, *sizes)
    if users:
        tiers.write(rep, results, users)
    return "\n".join(rep.lines) + "\n"


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
    p.add_argument("--only", nargs="+", default=PARTS, choices=PARTS)
    p.add_argument("--quick", action="store_true", help="one short round: does it work")
    p.add_argument("--output", default=os.path.join(ROOT, "docs", "benchmarks.md"))
    opt = p.parse_args()
    if opt.quick:
        opt.rounds, opt.seconds, opt.warm, opt.users = 1, 1.5, 0.5, 2000
    build = os.path.join(ROOT, opt.build)
    for name in ("combined", "edge", "home"):
        setattr(opt, name, os.path.join(build, "eaves-" + name))
    opt.eavesctl = os.path.join(build, "eavesctl")
    opt.sipload = os.path.join(build, "bench", "sipload")
    opt.floor = os.path.join(build, "bench", "floor")
    return opt


def main():
    opt = options()
    results = Results()
    load = os.getloadavg()
    text = write_report(opt, results, *run(opt, results), load)
    print(text)
    if not opt.quick:
        with open(opt.output, "w") as f:
            f.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
