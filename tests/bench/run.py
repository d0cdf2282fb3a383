#!/usr/bin/env python3
"""Benchmarks: Kamailio 5.6 and Eaves on one machine, in one run, alternating.

Each round starts the peer, then ours, on loopback with the same users, and drives both with
sipload: paced at 1,000 operations a second, then saturated.  Figures are CPU of all of a server's
processes per operation (kernel included), medians over the rounds with their extremes; the ratio is
the median of the rounds' ratios.  One server against one is in one.py, edge and home against edge
and home in tiers.py, Eaves alone with many homes in scale.py.  Each part's tables are printed and
written to docs/benchmarks.md when it ends; the parts that were not run stand as they were.

Only processes started here are stopped.  Run it on an otherwise idle machine.
"""
import argparse
import collections
import os
import platform
import subprocess
import sys
import time

import one
import page
import scale
import tiers
from results import Report
from servers import HERE

ROOT = os.path.dirname(os.path.dirname(HERE))
Part = collections.namedtuple("Part", "title run peer")
PARTS = {
    "memory": Part("Memory against memory", one.run_memory, True),
    "challenged": Part("INVITE and MESSAGE challenged too", one.run_challenged, True),
    "durable": Part("Durable against durable", one.run_durable, True),
    "capacity": Part("Capacity", one.run_capacity, True),
    "tiers": Part("Two tiers: edge and home", tiers.run, True),
    "scale": Part("Twenty pairs of homes", scale.run, False),
}
HEAD = """# Benchmarks

Written by `make bench` (tests/bench/run.py): do not edit.  Its method stands at the head of that
file; the peer's configurations are in tests/bench/kamailio, the generator is tests/bench/sipload.
Each part has a date of its own: `make bench BENCH="--only tiers"` writes one anew.

- CPU of all of a server's processes per operation, kernel included: medians (least to most)
- ratio: Eaves / Kamailio, by round
"""


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


def method(opt, load, peer):
    """When and how a part was measured."""
    lines = [f"{time.strftime('%Y-%m-%d')}, {machine()};",
             f"{opt.rounds} rounds, {opt.seconds:g} s each after {opt.warm:g} s of warming; "
             f"load average {load[0]:.2f} before, {os.getloadavg()[0]:.2f} after"]
    if peer:
        lines[-1] += ";"
        lines.append(f"{opt.users} users; peer: {kamailio_version()}, {opt.workers} processes for "
                     f"messages; Eaves: {opt.our_workers or 'its default of'} workers"
                     + ("" if opt.our_workers else " (one for every four cores)"))
    return "\n".join(lines)


def run_part(opt, name):
    part = PARTS[name]
    load, rep = os.getloadavg(), Report()
    part.run(opt, rep)
    return f"## {part.title}\n\n{method(opt, load, part.peer)}\n" + "\n".join(rep.lines) + "\n"


def options():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--build", default="build/release")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=3)
    p.add_argument("--warm", type=float, default=1)
    p.add_argument("--users", type=int, default=10000)
    p.add_argument("--workers", type=int, default=os.cpu_count(), help="the peer's processes")
    p.add_argument("--our-workers", type=int, default=0, help="0: as the server chooses")
    p.add_argument("--port", type=int, default=5960)
    p.add_argument("--only", nargs="+", default=list(PARTS), choices=list(PARTS))
    p.add_argument("--quick", action="store_true", help="one short round: does it work")
    p.add_argument("--output", help="the page (docs/benchmarks.md; none with --quick)")
    opt = p.parse_args()
    if opt.quick:
        opt.rounds, opt.seconds, opt.warm, opt.users = 1, 1.5, 0.5, 2000
    if not opt.output and not opt.quick:
        opt.output = os.path.join(ROOT, "docs", "benchmarks.md")
    build = os.path.join(ROOT, opt.build)
    for name in ("combined", "edge", "home"):
        setattr(opt, name, os.path.join(build, "eaves-" + name))
    opt.eavesctl = os.path.join(build, "eavesctl")
    opt.sipload = os.path.join(build, "bench", "sipload")
    opt.floor = os.path.join(build, "bench", "floor")
    return opt


def main():
    opt = options()
    for name in opt.only:
        text = run_part(opt, name)
        print(text)
        if opt.output:
            page.write(opt.output, HEAD, list(PARTS), name, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
