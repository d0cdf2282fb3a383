#!/usr/bin/python3
"""The lab: clusters of real processes in network namespaces, killed under load.  README.md has more.

usage: lab.py run [options] | report | smoke | up | down | possible
"""
import argparse
import json
import os
import sys
import time

import faults
import net
import report
import sipp
from crowd import Crowd
from faults import say

ALL = ("setup", *faults.HOLD_S, "random", "streams", "partition", "sipp")


def clusters(names):
    from eaves import Eaves
    from kamailio import Kamailio, KamailioFailover, KamailioStateful
    known = {"eaves": [Eaves], "kamailio": [Kamailio], "stateful": [KamailioStateful],
             "failover": [KamailioFailover],
             "peers": [Kamailio, KamailioStateful, KamailioFailover]}
    known["both"] = known["eaves"] + known["kamailio"]
    return known[names]


def options(argv):
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("command", choices=("run", "report", "smoke", "up", "down", "possible"))
    p.add_argument("--build", default="build/release")
    p.add_argument("--peer", default="both",
                   choices=("eaves", "kamailio", "both", "stateful", "failover", "peers"))
    p.add_argument("--faults", default=",".join(ALL))
    p.add_argument("--targets", default=",".join(faults.TARGETS))
    p.add_argument("--rounds", type=int, default=10)
    p.add_argument("--partitions", default="20,60,210")
    p.add_argument("--stream-faults", default="kill,power,stop,drain",
                   help="those of phones with a connection each")
    p.add_argument("--stream-targets", default="edge-active,home-active", help="of these")
    p.add_argument("--sipp", default="", help="more words for each SIPp: -trace_msg")
    p.add_argument("--sipp-faults", default="kill", help="those under a load by SIPp")
    p.add_argument("--users", type=int, default=250)
    p.add_argument("--direct", type=int, default=50, help="percent of users at their home itself")
    p.add_argument("--seed", type=int, default=int(time.time()))
    p.add_argument("--verbose", action="store_true", help="every message, to the crowd's log")
    p.add_argument("--merge", action="store_true",
                   help="into the figures of earlier runs, for what this one does")
    p.add_argument("--write", action="store_true", help="the tables into docs/cluster.md")
    opt = p.parse_args(argv)
    opt.build = os.path.join(net.ROOT, opt.build)
    opt.crowd = os.path.join(opt.build, "lab", "crowd")
    opt.faults = opt.faults.split(",")
    opt.targets = opt.targets.split(",")
    opt.sipp = opt.sipp.split()
    opt.sipp_faults = opt.sipp_faults.split(",")
    opt.stream_faults = opt.stream_faults.split(",")
    opt.stream_targets = opt.stream_targets.split(",")
    opt.partitions = [int(x) for x in opt.partitions.split(",")]
    for f in opt.faults:
        if f not in ALL:
            p.error(f"no fault {f}; there are {' '.join(ALL)}")
    for f in opt.stream_faults + opt.sipp_faults:
        if f not in (*faults.HOLD_S, "random"):
            p.error(f"no fault {f}; there are {' '.join(faults.HOLD_S)}")
    return opt


def experiment(cls, opt):
    """Everything with one cluster: what report.py makes tables of."""
    out = {"name": cls.name, "series": [], "streams": [], "setup": [], "partition": [],
           "sipp": []}
    with cls(opt) as cluster:
        if "setup" in opt.faults:
            out["setup"] = faults.set_up(cluster, opt)
        if "streams" in opt.faults:
            out["streams"] = [r.data() for r in faults.streams(cluster, opt, opt.rounds)]
        if {*faults.HOLD_S, "random", "partition"} & {*opt.faults}:
            by_crowd(cluster, opt, out)
        if "sipp" in opt.faults and cluster.asks_callers:
            out["sipp"] = by_sipp(cluster, opt)
    return out


def by_crowd(cluster, opt, out):
    with Crowd(cluster, opt) as crowd:
        crowd.registered()
        for fault in faults.HOLD_S:
            for target in opt.targets:
                if fault in opt.faults and faults.suits(cluster, fault, target):
                    out["series"].append(faults.series(cluster, crowd, fault, target,
                                                       opt.rounds).data())
        if "random" in opt.faults:
            out["series"].append(faults.at_random(cluster, crowd, opt.rounds, opt.seed).data())
        if "partition" in opt.faults:
            out["partition"] = [faults.partition(cluster, crowd, what, s)
                                for what in cluster.partitions for s in opt.partitions]


def by_sipp(cluster, opt):
    rows = [sipp.series(cluster, opt, fault, target, opt.rounds)
            for fault in opt.sipp_faults if fault != "random" for target in opt.targets
            if faults.suits(cluster, fault, target)]
    if "random" in opt.sipp_faults:
        rows.append(sipp.at_random(cluster, opt, opt.rounds, opt.seed))
    return rows


def run(opt):
    results = []
    for cls in clusters(opt.peer):
        say(f"{cls.name}: starting")
        results.append(keep(experiment(cls, opt), opt))
    return tell(results, opt)


def path_of(name):
    return os.path.join(net.ROOT, "build", "lab", name + ".json")


def keep(result, opt):
    """In its file; with --merge what this run did not do is left as it was there."""
    old = {}
    for row in (r for key in report.PARTS for r in result[key]):
        row["date"] = time.strftime("%Y-%m-%d")
    if opt.merge and os.path.exists(path_of(result["name"])):
        with open(path_of(result["name"]), encoding="utf-8") as f:
            old = json.load(f)
    result["setup"] = result["setup"] or old.get("setup", [])
    order = list(report.FAULTS)
    for key, names, by in (
            ("series", ("fault", "target"), lambda r: order.index(r["fault"])),
            ("streams", ("transport", "fault", "target"),
             lambda r: (r["transport"] != "tls", order.index(r["fault"]))),
            ("partition", ("what", "seconds"), lambda r: (r["what"] != "pair", r["seconds"])),
            ("sipp", ("fault", "target"),
             lambda r: (order.index(r["fault"]), [*faults.TARGETS, r["target"]].index(r["target"])))):
        def name(r):
            return tuple(r[n] for n in names if n != "target" or r["fault"] != "random")
        done = {name(r) for r in result[key]}
        kept = [r for r in old.get(key, []) if name(r) not in done]
        result[key] = sorted(kept + result[key], key=by)
    with open(path_of(result["name"]), "w", encoding="utf-8") as f:
        json.dump(result, f, indent=1)
    return result


def again(opt):
    """The tables of what is in the files."""
    results = []
    for cls in clusters(opt.peer):
        if os.path.exists(path_of(cls.name)):
            with open(path_of(cls.name), encoding="utf-8") as f:
                results.append(json.load(f))
    return tell(results, opt)


def tell(results, opt):
    print(report.markdown(results))
    if any(r.get("sipp") for r in results):
        print(report.sipp_markdown(results))
    for result in results if opt.write else ():
        report.write(result)
    return sum(report.faults_of(r) for r in results if r["name"] == "eaves")


def smoke(opt):
    """One kill of a home and one of an edge: nothing may be lost."""
    from eaves import Eaves
    passed = failed = 0
    with Eaves(opt) as cluster, Crowd(cluster, opt) as crowd:
        crowd.registered()
        for target in ("home-active", "edge-active"):
            row = faults.series(cluster, crowd, "kill", target, 1)
            print(f"kill -9 of {target}: {row.faults()} faults in {row.sum['calls']} calls, "
                  f"longest gap {max(row.gaps)} ms")
            for key, value in {**row.sum, **row.why}.items():
                print(f"  {key} {value}")
            passed += row.faults() == 0
            failed += row.faults() != 0
    print(f"== {passed} passed, {failed} failed")
    return failed


def main():
    opt = options(sys.argv[1:])
    if opt.command == "report":
        again(opt)
        return 0
    why = net.possible()
    if opt.command == "possible":
        print(why or "possible")
        return 1 if why else 0
    if opt.command == "down":
        net.down()
        return 0
    if why:
        print(f"The lab needs network namespaces, and they cannot be made here: {why}")
        print("== 1 skipped")
        return 0 if opt.command == "smoke" else 3
    if opt.command == "up":
        net.up()
        print(f"namespaces {net.PREFIX}-*; `ip netns exec {net.namespace('p1')} bash` is a phone")
        return 0
    try:
        return 1 if {"run": run, "smoke": smoke}[opt.command](opt) else 0
    finally:
        net.down()


if __name__ == "__main__":
    sys.exit(main())
