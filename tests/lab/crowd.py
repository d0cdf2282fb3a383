"""The crowd of phones (crowd/), run in the phones' host and driven line by line."""
import collections
import json
import os
import subprocess
import threading
import time

import net
from cluster import DOMAIN, SIP


class Crowd:
    def __init__(self, cluster, opt, host="p1", transport="udp", users=None, patience_ms=32000):
        port = SIP + 1 if transport == "tls" else SIP
        words = [opt.crowd, "--source", net.address(host), "--edge", f"{net.service('e')}:{port}",
                 "--homes", str(len(cluster.homes)), "--users", str(users or opt.users),
                 "--direct", str(opt.direct), "--domain", DOMAIN, "--transport", transport,
                 "--patience-ms", str(patience_ms)]
        for home in cluster.homes:
            words += ["--home", f"{net.service(home)}:{port}"]
        if opt.verbose:
            words += ["--verbose"]
        self.messages = []
        self.epochs, self.audits = {}, {}
        self.events = collections.deque()
        self.news = threading.Condition()
        self.ended = False
        self.log = open(cluster.path(host, f"crowd-{transport}.log"), "ab")
        self.process = subprocess.Popen(net.inside(host, *words), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.log, text=True,
                                        bufsize=1, start_new_session=True)
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:  # the next crowd's users are not to ring this one's phones
                self.rate(0, 0, 0)
                self.say("leave")
                self.event("left", 60)
            self.say("quit")
            self.process.wait(3)
        except (OSError, TimeoutError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        self.log.close()

    def _read(self):
        for line in self.process.stdout:
            try:
                told = json.loads(line)
            except ValueError:
                continue
            with self.news:
                if "epoch" in told:
                    self.epochs[told["epoch"]] = told
                elif "audit" in told:
                    self.audits[told["audit"]] = told
                else:
                    self.events.append(told)
                self.news.notify_all()
        with self.news:
            self.ended = True
            self.news.notify_all()

    def say(self, *words):
        self.process.stdin.write(" ".join(str(w) for w in words) + "\n")
        self.process.stdin.flush()

    def wait(self, what, test, seconds):
        """The first true value of test(), looked at whenever the crowd tells something."""
        end = time.monotonic() + seconds
        with self.news:
            while True:
                value = test()
                if value:
                    return value
                if self.ended or time.monotonic() > end:
                    raise TimeoutError(f"the crowd: {what}: not within {seconds} s")
                self.news.wait(min(1, max(0.01, end - time.monotonic())))

    def event(self, name, seconds):
        def found():
            for e in self.events:
                if e["event"] == name:
                    self.events.remove(e)
                    return e
            return None
        return self.wait(name, found, seconds)

    def registered(self):
        return self.event("registered", 90)

    def epoch(self, name):
        self.say("epoch", name)

    def result(self, name, seconds=90):
        return self.wait(f"epoch {name}", lambda: self.epochs.get(name), seconds)

    def audit(self, name, at=None):
        """What the registrar at an address says of every user, against what it acknowledged."""
        self.say("audit", name, *([f"{at}:{SIP}"] if at else []))
        return self.wait(f"audit {name}", lambda: self.audits.get(name), 120)

    def rate(self, calls, messages, registers):
        self.say("rate", calls, messages, registers)
