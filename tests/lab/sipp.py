"""The same faults under a load by SIPp: a witness that is not ours.  Scenarios are in sipp/.

Three processes are all devices: each registers its contacts, again and again, from the socket that is
called.  A process of its own calls each callee, since SIPp writes one uri= into all credentials.
"""
import collections
import csv
import glob
import os
import re
import signal
import subprocess
import time

import faults
import net
from cluster import DOMAIN, SIP

XML = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sipp")
KINDS = ("one", "par", "ser")
CALLED = 2      # of each kind: one of each home pair
ROLES = 5       # users 5n call, 5n + 1, 2, 3 are of a kind each
DEVICES = (("p1", 5101), ("p2", 5102), ("p2", 5103))
SERIAL = (("refuse", "refuse", "answer"), ("refuse", "answer", "never"))
Q = ("0.9", "0.6", "0.3")
ENDS = {"answer": ("ended", "cancelled"), "ring": ("cancelled",), "refuse": ("refused",), "never": ()}
# SIPp takes nothing in while it has something to send or to note, and says no state with a CANCEL: one of a
# call is repeated by who sent it, and what is amiss shows in the call's end.
BUSY = ("sending", "in message", "once")
PATIENCE_S = 90
RING_S = 64    # longer than a device waits for a CANCEL
LINGER_S = 32  # 64*T1: no server repeats anything that the next series' phones would get


def contacts(users):
    """What every user registers: (user, device, role, q)."""
    for n in range(users // ROLES):
        for k, kind in enumerate(KINDS):
            user = f"u{n * ROLES + 1 + k}"
            if kind == "one":
                yield user, n % 3, "answer", "1"
            for d in range(3) if kind != "one" else ():
                role = SERIAL[n % 2][d] if kind == "ser" else "answer" if d == n % 3 else "ring"
                yield user, d, role, Q[d] if kind == "ser" else "1"


class Process:
    """One SIPp, and what it tells in its files."""

    def __init__(self, folder, name, host, port, scenario, users, rate, auth_uri, *more):
        self.stem = os.path.join(folder, name)
        with open(self.stem + ".users", "w", encoding="ascii") as f:
            f.write("SEQUENTIAL\n" + "".join(";".join(u) + "\n" for u in users))
        words = ["sipp", f"{net.service('e')}:{SIP}", "-sf", os.path.join(XML, scenario + ".xml"),
                 "-inf", self.stem + ".users", "-t", "u1", "-i", net.address(host), "-p", str(port),
                 "-r", str(rate[0]), "-rp", str(rate[1]), "-l", "15000", "-nostdin",
                 "-key", "domain", DOMAIN, "-auth_uri", auth_uri,
                 "-default_behaviors", "none", "-max_invite_retrans", "6", "-max_non_invite_retrans", "10",
                 "-watchdog_minor_maxtriggers", "100000", "-watchdog_major_maxtriggers", "100000",
                 "-trace_err", "-error_file", self.stem + ".err", "-trace_stat", "-stf", self.stem + ".stat",
                 "-fd", "1", "-trace_logs", "-log_file", self.stem + ".log",
                 "-trace_rtt", "-rtt_freq", "1", *more]
        self.cwd = self.stem + ".d"
        os.makedirs(self.cwd)
        with open(self.stem + ".screen", "wb") as f:
            self.process = subprocess.Popen(net.inside(host, *words), stdin=subprocess.DEVNULL, stdout=f,
                                            stderr=f, cwd=self.cwd, start_new_session=True,
                                            env=net.environment())

    def finish(self):
        """No new calls; it ends with its last one."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGUSR1)

    def done(self, until):
        """Whether it has ended by itself."""
        try:
            self.process.wait(max(0.1, until - time.monotonic()))
            return True
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return False

    def statistics(self):
        with open(self.stem + ".stat", encoding="latin-1") as f:
            row = list(csv.DictReader(f, delimiter=";"))[-1]
        return {k[:-3]: int(v) for k, v in row.items() if k and k.endswith("(C)") and v.isdigit()}

    def lines(self):
        """(word, Call-ID, branch or nothing), as the scenario logs them."""
        if os.path.exists(self.stem + ".log"):
            with open(self.stem + ".log", encoding="latin-1") as f:
                for line in f:
                    words = line.split()
                    if len(words) in (2, 3):
                        yield (*words, "")[:3]

    def unexpected(self):
        """(state, what came) of each message that has no place in the scenario there."""
        if not os.path.exists(self.stem + ".err"):
            return []
        with open(self.stem + ".err", encoding="latin-1") as f:
            text = f.read()
        known = re.findall(
            r"unexpected message for Call-Id '[^']*': while (.*?), received '(SIP/2.0 \d+|\S+)", text)
        no_state = collections.Counter(re.findall(
            r"unexpected (BYE|CANCEL) for call: (\S+?)(?=\d{4}-\d\d-\d\d\s|\s|$)", text))
        return known + [("repeated" if i else "once", what) for (what, _), n in no_state.items()
                        for i in range(n)]

    def longest(self):
        """Milliseconds that the slowest answer took, by what was asked."""
        out = {}
        for path in glob.glob(self.cwd + "/*_rtt.csv"):
            with open(path, encoding="latin-1") as f:
                for row in csv.reader(f, delimiter=";"):
                    if len(row) >= 3 and row[0][:1].isdigit():
                        out[row[2]] = max(out.get(row[2], 0), float(row[1]))
        return out


class Load:
    """Phones by SIPp for one series of faults."""

    def __init__(self, cluster, opt, name):
        self.cluster, self.opt = cluster, opt
        self.folder = os.path.join(cluster.folder, "sipp-" + name)
        os.makedirs(self.folder)
        self.contacts = list(contacts(opt.users))
        self.devices, self.callers = [], []

    def __enter__(self):
        try:
            for d, (host, port) in enumerate(DEVICES):
                rows = [(u, f"[authentication username={u} password=p{u[1:]}]", role, q)
                        for u, device, role, q in self.contacts if device == d]
                self.devices.append(Process(
                    self.folder, f"device{d + 1}", host, port, "register", rows,
                    (faults.REGISTERS, len(DEVICES) * 1000), DOMAIN, "-oocsf", os.path.join(XML, "device.xml"),
                    *self.opt.sipp))
            net.wait_for("registrations by SIPp", lambda: not self.missing(), 60, 0.5)
            rows = [(f"u{i}", f"[authentication username=u{i} password=p{i}]")
                    for i in range(0, self.opt.users, ROLES)]
            callees = [n * ROLES + 1 + k for n in range(CALLED) for k in range(len(KINDS))]
            for n, i in enumerate(callees):
                self.callers.append(Process(
                    self.folder, f"caller-u{i}", ("p1", "p2")[n % 2], 5200 + n, "call", rows,
                    (faults.CALLS + faults.MESSAGES, len(callees) * 1000), f"u{i}@{DOMAIN}",
                    "-key", "callee", f"u{i}", *self.opt.sipp))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for p in self.callers + self.devices:
            p.done(0)

    def epoch(self, _name):
        """As the crowd has it; here a series is counted as a whole."""

    def missing(self):
        """Contacts that a home of their user does not have, for either member."""
        wanted = {(u, f"sip:{role}.{u}@{net.address(DEVICES[d][0])}:{DEVICES[d][1]}")
                  for u, d, role, _ in self.contacts}
        found = [{(u, c.strip("<>")) for h in hosts for u, c in self.cluster.bindings(h)}
                 for hosts in zip(*(net.members(p) for p in self.cluster.homes))]
        return [c for have in found for c in wanted - have]

    def end(self):
        """All calls to their end: how many processes did not come to it."""
        left = self.finish(self.callers)
        time.sleep(LINGER_S)
        try:  # what SIPp was called for does not keep it from ending
            net.wait_for("ends at devices", lambda: not self.legs()["rings_on"], RING_S - LINGER_S, 0.5)
        except TimeoutError:
            pass
        return left + self.finish(self.devices)

    @staticmethod
    def finish(some):
        for p in some:
            p.finish()
        until = time.monotonic() + PATIENCE_S
        return [p.done(until) for p in some].count(False)

    # ---- what they saw ----

    def counts(self):
        why, odd, busy, waits, begun, failed = (collections.Counter() for _ in range(6))
        for who, some in (("caller", self.callers), ("device", self.devices)):
            for p in some:
                s = p.statistics()
                begun[who] += s["OutgoingCall"]
                failed[who] += s["FailedCall"]
                why.update({f"{who}: {k}": v for k, v in s.items() if k.startswith("Failed") and v})
                for state, what in p.unexpected():
                    (busy if state.startswith(BUSY) else odd)[f"{who}: {state}: {what}"] += 1
                for key, value in p.longest().items():
                    waits[key] = max(waits[key], round(value))
        n = self.ends()
        n.update(self.legs())
        lost = n["sends"] - n["message"]
        calls = begun["caller"] - n["sends"]
        return {"calls": calls, "failed": max(failed["caller"] - lost, calls - n["answered"] - n["given-up"]),
                "given_up": n["gives-up"], "no_487": n["gives-up"] - n["given-up"],
                "registers": begun["device"], "register_failed": failed["device"],
                "messages": n["sends"], "message_failed": lost,
                **{k: n[k] for k in ("message_lost", "legs", "rings_on", "rang_twice", "order", "repeated",
                                     "ack_late", "late")},
                "why": dict(why), "odd": dict(odd), "busy": dict(busy), "waits": dict(waits)}

    def legs(self):
        """What became of each INVITE at each device."""
        out = collections.Counter()
        for p in self.devices:
            seen, branches = set(), {}
            for word, call, branch in p.lines():
                seen.add((word, call))
                if word in ENDS:
                    out["legs"] += 1
                    out["order"] += word == "never"
                    out["rang_twice"] += call in branches
                    branches[call] = branch
                elif word == "again":
                    out["repeated"] += 1
                    out["rang_twice"] += branches.get(call) != branch
                out["ack_late"] += word == "early"
            for word, call in seen:
                out["rings_on"] += word in ENDS and not any((end, call) in seen for end in ENDS[word])
        return out

    def ends(self):
        """How the callers' calls and messages ended."""
        out = collections.Counter()
        got = [{call for word, call, _ in p.lines() if word == "message"} for p in self.devices]
        devices = collections.Counter(user for user, *_ in self.contacts)
        for p in self.callers:
            for word, call, _ in set(p.lines()):
                out[word] += 1
                if word == "message":
                    reached = sum(call in calls for calls in got)
                    out["message_lost"] += reached < devices[p.stem.rsplit("-", 1)[1]]
        return out


def series(cluster, opt, fault, target, rounds):
    """One row: what a fault costs these phones."""
    return row_of(cluster, opt, fault, target, [(fault, target, n) for n in range(rounds)])


def at_random(cluster, opt, rounds, seed):
    return row_of(cluster, opt, "random", f"any (seed {seed})", list(faults.drawn(cluster, rounds, seed)))


def row_of(cluster, opt, fault, target, rounds):
    name = fault if fault == "random" else f"{fault}-{target}"
    with Load(cluster, opt, name) as load:
        for n, what in enumerate(rounds):
            faults.one_round(cluster, load, f"sipp-{name}-{n}", *what)
        row = {"fault": fault, "target": target, "rounds": len(rounds),
               "bindings_lost": len(load.missing()), "not_ended": load.end(), **load.counts()}
    row["wrong"], cluster.wrong = cluster.wrong, []
    faults.say(f"{cluster.name}: SIPp: {row}")
    return row
