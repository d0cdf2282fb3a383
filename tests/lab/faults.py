"""Faults, one after the other, under load; what each costs is the crowd's accounts of its epoch."""
import random
import sys
import time

import net
from cluster import SIP
from crowd import Crowd

CALLS, MESSAGES, REGISTERS = 200, 50, 50  # a second
BEFORE_S, AFTER_S = 1.0, 1.0              # load before the fault and after the recovery
STREAM_RATE, STREAM_USERS = (50, 10, 10), 150
HOLD_S = {"kill": 3.0, "power": 3.0, "stop": 5.0, "drain": 3.0, "stranded": 3.0}
TARGETS = ("edge-active", "edge-standby", "home-active", "home-standby", "redis")
EQUAL_S = 5.0   # two members are to have the same again after a partition
GIVE_UP_S = 30.0


def say(*words):
    print(time.strftime("%H:%M:%S"), *words, file=sys.stderr, flush=True)


def place(cluster, target, n):
    """The host that is meant, now."""
    if target == "redis":
        return cluster.redis_primary()
    where, which = target.split("-")
    pair = "e" if where == "edge" else cluster.homes[n % len(cluster.homes)]
    return cluster.active(pair) if which == "active" else cluster.standby(pair)


def suits(cluster, fault, target):
    """Redis is not asked to end, and who is stranded is an edge that can say so."""
    if fault == "stranded":
        return cluster.tells_stranded and target.startswith("edge")
    return target != "redis" or (cluster.has_redis and fault != "drain")


def strike(cluster, fault, host):
    {"kill": cluster.kill, "power": cluster.power_off, "stop": cluster.stop,
     "drain": cluster.drain, "stranded": cluster.strand}[fault](host)


def one_round(cluster, crowd, name, fault, target, n):
    host = place(cluster, target, n)
    crowd.epoch(name)
    time.sleep(BEFORE_S)
    strike(cluster, fault, host)
    time.sleep(HOLD_S[fault])
    pair = net.pair_of(host)
    holder = net.holder(pair) if pair else None
    took = cluster.recover(host, fault)
    time.sleep(AFTER_S)
    if holder and net.holder(pair) != holder:
        cluster.wrong.append(f"{holder} lost its address when {host} came back")
    say(f"{cluster.name}: {name} at {host}, back after {took:.1f} s")
    return host


def no_more(crowd, name):
    """No more load; everything that was begun is at its end."""
    crowd.rate(0, 0, 0)
    crowd.epoch(name + "-end")
    return crowd.result(name)


class Row:
    """What several rounds of a fault cost together."""

    SUM = ("calls", "failed", "cancel_missing", "cancel_wrong", "rang_twice", "rang_late", "order",
           "bye_wrong", "messages", "message_failed", "message_lost", "message_partial",
           "registers", "register_failed", "bindings_lost")

    def __init__(self, fault, target):
        self.fault, self.target, self.rounds = fault, target, 0
        self.sum = dict.fromkeys(self.SUM, 0)
        self.why, self.gaps, self.waits = {}, [], {}
        self.audit_lost = self.audit_back = self.audit_failed = self.unequal = 0
        self.wrong = []  # what is told of the servers themselves

    def add(self, epoch):
        self.rounds += 1
        for key in self.SUM:
            self.sum[key] += epoch[key]
        for key in ("no_final", "status", "no_487", "no_ack", "bye", "two_answers", "wrong_answer"):
            if epoch[key]:
                self.why[key] = self.why.get(key, 0) + epoch[key]
        for key, value in epoch["by_status"].items():
            self.why[key] = self.why.get(key, 0) + value
        for key, value in epoch["wait_ms"].items():
            self.waits[key] = max(value, self.waits.get(key, 0))
        self.gaps.append(epoch["gap_ms"])

    def faults(self):
        """Everything that should be 0."""
        s = self.sum
        return (sum(s[k] for k in ("failed", "cancel_missing", "cancel_wrong", "rang_twice", "rang_late",
                                   "order", "bye_wrong", "message_failed", "message_lost",
                                   "message_partial", "register_failed", "bindings_lost"))
                + self.audit_lost + self.audit_back + self.audit_failed + len(self.wrong))

    def data(self):
        return dict(self.__dict__)


def audit(cluster, crowd, row, name):
    row.wrong, cluster.wrong = cluster.wrong, []
    for text in row.wrong:
        say(f"{cluster.name}: {text}")
    found = crowd.audit(name)
    row.audit_lost += found["lost"]
    row.audit_back += found["back"]
    row.audit_failed += found["failed"]
    for pair in cluster.homes:
        a, b = (cluster.bindings(h) for h in net.members(pair))
        row.unequal += len(a ^ b)


def series(cluster, crowd, fault, target, rounds, rate=(CALLS, MESSAGES, REGISTERS)):
    row = Row(fault, target)
    names = [f"{fault}-{target}-{n}" for n in range(rounds)]
    crowd.rate(*rate)
    for n, name in enumerate(names):
        one_round(cluster, crowd, name, fault, target, n)
    no_more(crowd, names[-1])
    for name in names:
        row.add(crowd.result(name))
    audit(cluster, crowd, row, f"after-{fault}-{target}")
    say(f"{cluster.name}: {fault} of {target}: {row.faults()} faults in {row.sum['calls']} calls, gap "
        f"{max(row.gaps)} ms")
    return row


def streams(cluster, opt, rounds):
    """Phones with a connection each: what they see when it ends, and after they are back."""
    rows = []
    for transport in sorted(set(cluster.transports) - {"udp"}, reverse=True):
        with Crowd(cluster, opt, transport=transport,
                   users=min(opt.users, STREAM_USERS)) as crowd:
            crowd.registered()
            found = [series(cluster, crowd, fault, target, rounds, STREAM_RATE)
                     for fault in opt.stream_faults if fault != "random"
                     for target in opt.stream_targets if suits(cluster, fault, target)]
            if "random" in opt.stream_faults:
                found.append(at_random(cluster, crowd, rounds, opt.seed, STREAM_RATE))
            for row in found:
                row.transport = transport
            rows += found
    return rows


def drawn(cluster, rounds, seed):
    """Faults and targets at random, and which pair of homes it is: of the seed."""
    dice = random.Random(seed)
    possible = [f for f in HOLD_S if any(suits(cluster, f, t) for t in TARGETS)]
    for _ in range(rounds):
        fault = dice.choice(possible)
        target = dice.choice([t for t in TARGETS if suits(cluster, fault, t)])
        yield fault, target, dice.randrange(2)


def at_random(cluster, crowd, rounds, seed, rate=(CALLS, MESSAGES, REGISTERS)):
    row = Row("random", f"any (seed {seed})")
    names = [f"random-{n}" for n in range(rounds)]
    crowd.rate(*rate)
    for name, what in zip(names, drawn(cluster, rounds, seed)):
        one_round(cluster, crowd, name, *what)
    no_more(crowd, names[-1])
    for name in names:
        row.add(crowd.result(name))
    audit(cluster, crowd, row, "after-random")
    return row


def sides(cluster, what):
    """Of "pair" the members of a pair of homes; of "cluster" one member of each pair, and Redis with the
    first, so that nobody carries anything from one side to the other."""
    if what == "pair":
        return [[host] for host in net.members("h1")]
    one, other = zip(*(net.members(p) for p in ("h1", "e", *cluster.homes)))
    return sorted({*one, *cluster.redis_hosts}), sorted({*other})


def partition(cluster, crowd, what, seconds):
    """Both members of a home pair go on registering; then they must agree."""
    a, b = net.members("h1")
    name = f"partition-{what}-{seconds}"
    crowd.say("only", 0)
    crowd.epoch(name)
    one, other = sides(cluster, what)
    for x in one:
        for y in other:
            net.cut(x, y)
    try:
        crowd.say("sides", f"{net.address(a)}:{SIP}", f"{net.address(b)}:{SIP}")
        crowd.rate(0, 0, REGISTERS)
        time.sleep(seconds)
        epoch = no_more(crowd, name)
        apart = len(cluster.bindings(a) ^ cluster.bindings(b))
    finally:
        net.heal()
    healed = time.monotonic()
    crowd.say("sides")
    out = {"what": what, "seconds": seconds, "registers": epoch["registers"], "failed": epoch["register_failed"],
           "apart": apart, "equal_after_s": None}
    while time.monotonic() - healed < GIVE_UP_S:
        x, y = cluster.bindings(a), cluster.bindings(b)
        if x == y:
            out["equal_after_s"] = round(time.monotonic() - healed, 1)
            break
        time.sleep(0.1)
    out["differ"] = len(x ^ y)
    for host in (a, b):
        found = crowd.audit(f"{name}-{host}", net.address(host))
        out[f"lost_{host[-1]}"], out[f"back_{host[-1]}"] = found["lost"], found["back"]
    crowd.say("only")
    say(f"{cluster.name}: partition of a {what}, {seconds} s: {out}")
    return out


SETUPS = (("one", 0, "udp", "one target, UDP"), ("par", 0, "udp", "three devices at a time"),
          ("ser", 0, "udp", "serial by q"), ("one", 1, "udp", "CANCEL while ringing"),
          ("par", 1, "udp", "CANCEL, three devices"), ("one", 0, "tcp", "one target, TCP"))


def set_up(cluster, opt, calls=100):
    """Calls that ring while a server dies: how many are lost."""
    rows = []
    direct, opt.direct = opt.direct, 0
    for transport in ("udp", "tcp"):
        with Crowd(cluster, opt, transport=transport, patience_ms=20000) as crowd:
            crowd.registered()
            crowd.say("only", 0)
            for kind, cancel, by, text in SETUPS:
                if by != transport:
                    continue
                for pair in ("h1", "e"):
                    rows.append(one_set_up(cluster, crowd, kind, cancel, pair, calls, text))
    opt.direct = direct
    return rows


def one_set_up(cluster, crowd, kind, cancel, pair, calls, text):
    name = f"setup-{text.replace(' ', '-').replace(',', '')}-{pair}"
    crowd.epoch(name)
    crowd.say("burst", kind, calls, cancel)
    ringing = crowd.event("ringing", 20)
    host = cluster.active(pair)
    cluster.kill(host)
    net.wait_for(f"{pair} at its other member",
                 lambda: net.holder(pair) not in (None, host), 10)
    crowd.say("settle")
    crowd.event("settled", 30)
    crowd.say("release")
    crowd.epoch(name + "-end")
    found = crowd.result(name, 120)
    cluster.recover(host, "kill")
    row = {"what": text, "host": host, "killed": "edge" if pair == "e" else "home", "calls": found["calls"], "rang": ringing["calls"],
           "lost": found["failed"], "cancel_missing": found["cancel_missing"],
           "other": sum(found[k] for k in ("cancel_wrong", "rang_twice", "rang_late", "order",
                                           "bye_wrong")), "gap_ms": found["gap_ms"]}
    say(f"{cluster.name}: set-up: {row}")
    return row
