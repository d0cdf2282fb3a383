"""Eaves in the lab: an edge pair with Redis and its Sentinels behind it, and home pairs."""
import os
import re
import signal
import subprocess
import time

import keepalived
import net
from cluster import alive, Cluster, DOMAIN, SIP
from sentinels import HOSTS as REDIS_HOSTS, PRIMARY, Redis

BUS, LINK, HTTP = 7400, 7401, 9060


class Eaves(Cluster):
    name = "eaves"
    has_redis = tells_stranded = asks_callers = True
    transports = ("udp", "tcp", "tls")
    partitions = ("pair", "cluster")
    redis_hosts = ("r1", "r2", "r3")

    def before(self):
        self.redis = Redis(self)
        self.redis.start()
        self.keys = {}
        os.umask(0o077)
        with open(os.path.join(self.folder, "secret"), "wb") as f:
            f.write(os.urandom(32))
        for host in self.hosts():
            os.makedirs(self.path(host, "data"))
            r = subprocess.run([os.path.join(self.opt.build, "eaves-edge"), "--make-key",
                                self.path(host, "key")], capture_output=True, text=True)
            if r.returncode:
                raise RuntimeError("--make-key: " + r.stderr)
            self.keys[host] = r.stdout.strip()
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
                        f"/CN={DOMAIN}", "-addext", f"subjectAltName=DNS:{DOMAIN},URI:sip:{DOMAIN}",
                        "-keyout", os.path.join(self.folder, "tls.key"), "-out",
                        os.path.join(self.folder, "tls.pem")], check=True, capture_output=True)
        for host in self.hosts():
            self.configure(host)

    def configure(self, host):
        pair = net.pair_of(host)
        role = "edge" if pair == "e" else "home"
        lines = [f"domain: {DOMAIN}", "aliases:"]
        lines += [f"  - {net.service('e')}"] + [f"  - {net.address(h)}" for h in net.members("e")]
        lines += ["listeners:"]
        for at in (net.service(pair), net.address(host)):
            lines += [f"  - {{transport: {t}, address: {at}, port: {SIP + (t == 'tls')}}}"
                      for t in self.transports]
        lines += [f"  - {{transport: tcp, address: {net.address(host)}, port: {LINK}, "
                  "policy: cluster}",
                  f"data_dir: \"{self.path(host, 'data')}\"",
                  f"store: {'memory' if role == 'edge' else 'sqlite'}", "workers: 1",
                  "net: {connections_per_source: 5000}", "auth: {lock_failures: 0, sha256: false}",  # SIPp 3.6 knows MD5 alone
                  "tls:", "  certificates:",
                  f"    - {{domain: {DOMAIN}, certificate: \"{self.folder}/tls.pem\", "
                  f"key: \"{self.folder}/tls.key\"}}",
                  "cluster:", f"  node: {host}", f"  secret: \"{self.folder}/secret\"",
                  f"  bus_key: \"{self.path(host, 'key')}\"", "  nodes:"]
        for h in self.hosts():
            p = net.pair_of(h)
            lines += [f"    - {{name: {h}, role: {'edge' if p == 'e' else 'home'}, "
                      f"pair: {'edge' if p == 'e' else p}, bus: \"{net.address(h)}:{BUS}\", "
                      f"sip: \"{net.address(h)}:{LINK}\", key: \"{self.keys[h]}\"}}"]
        if role == "edge":
            lines += [f"redis: {{sentinels: \"{self.redis.sentinels()}\", primary: {PRIMARY}}}"]
        lines += [f"admin: {{socket: \"{self.socket(host)}\", "
                  f"http: \"{net.address(host)}:{HTTP}\"}}", "log: {level: info}"]
        with open(self.path(host, "yaml"), "w", encoding="ascii") as f:
            f.write("\n".join(lines) + "\n")

    def socket(self, host):
        return f"/tmp/{net.PREFIX}-{host}.sock"  # a short path: unix sockets want one

    def command(self, host):
        role = "edge" if net.pair_of(host) == "e" else "home"
        return [os.path.join(self.opt.build, "eaves-" + role), "--config",
                self.path(host, "yaml")]

    # ---- keepalived, as docs/cluster.md has it ----

    def keepalived_conf(self, host):
        return keepalived.documented(host, self.path(host, "data"), self.health(host),
                                     self.command(host))

    def start_keepalived(self, host):
        super().start_keepalived(host)
        self.spawn(host, ["/usr/bin/python3", os.path.join(net.ROOT, "deploy", "health.py"),
                          self.health(host), net.address(host), str(SIP)], "health.log")

    def guard_options(self, host):
        return []

    def serves(self, host):
        """As keepalived has it."""
        return super().serves(host) and self.says_well(os.path.join(self.path(host, "data"),
                                                                    "drain"))

    def drain(self, host):
        """SIGTERM; the service address is to be gone before the process is."""
        pid, pair = self.pid(host), net.pair_of(host)
        had = net.has_service(host, pair)
        super().drain(host)
        while had and net.has_service(host, pair):
            if not alive(pid):
                self.wrong.append(f"{host} ended before its address had gone")
                break
            time.sleep(0.01)

    def drained(self, host):
        status = self.exit_status(host)
        if status != "0":
            self.wrong.append(f"{host} ended with status {status}")

    # ---- its administration ----

    def ctl(self, host, *words, stdin="", check=True):
        r = subprocess.run([os.path.join(self.opt.build, "eavesctl"), "--socket",
                            self.socket(host), *words], input=stdin, capture_output=True,
                           text=True, timeout=60)
        if r.returncode and check:
            raise RuntimeError(f"eavesctl {' '.join(words)} at {host}: {r.stdout}{r.stderr}")
        return r.stdout if r.returncode == 0 else ""

    def status(self, host):
        """Numbers of `eavesctl status` by name."""
        return dict(re.findall(r"^(\w[\w-]*) +(\d+)", self.ctl(host, "status", check=False), re.M))

    def alive(self, host):
        """How many of the nodes that it speaks with live, and how many there are."""
        lines = self.ctl(host, "cluster", "status", check=False).splitlines()
        return (sum(" alive" in x for x in lines),
                5 if net.pair_of(host) == "e" else 3)

    def after(self):
        for host in self.hosts():
            net.wait_for(f"{host} sees its nodes",
                         lambda h=host: self.alive(h)[0] >= self.alive(h)[1], 20)
        self.ctl("e1", "user", "import", stdin="".join(
            f"u{i} p{i}\n" for i in range(self.opt.users)))
        for i in range(self.opt.users):
            self.ctl("e1", "user", "home", f"u{i}", self.homes[i // 5 % len(self.homes)])
        for host in self.hosts():
            net.wait_for(f"users at {host}", lambda h=host: self.has_users(h), 30)

    def has_users(self, host):
        users = int(self.status(host).get("users", -1))
        every = self.opt.users
        return users >= (every if net.pair_of(host) == "e" else every // len(self.homes) - 5)

    def ready(self, host):
        if host in REDIS_HOSTS:
            return True
        alive, of = self.alive(host)
        if alive < of or not self.has_users(host):
            return False
        if net.pair_of(host) == "e":
            return True
        other = [m for m in net.members(net.pair_of(host)) if m != host][0]
        # they go on while this looks: some may be on their way
        return len(self.bindings(host) ^ self.bindings(other)) <= 10

    def bindings(self, host):
        out = set()
        for line in self.ctl(host, "registration", "list", check=False).splitlines():
            words = line.split()
            if len(words) >= 2:
                out.add((words[0], words[1]))
        return out

    def active(self, pair):
        """Of a home pair: the one that the edge gives its calls to, whoever has the address."""
        holder = super().active(pair)
        if pair == "e":
            return holder
        busy = {h: int(self.status(h).get("transactions", 0)) for h in net.members(pair)}
        most = max(busy, key=busy.get)
        return most if busy[most] > busy[holder] else holder

    # ---- Redis ----

    def redis_primary(self):
        return self.redis.primary()

    def signal(self, host, number):
        if host not in REDIS_HOSTS:
            super().signal(host, number)
            return
        for pid in self.redis.pids(host):
            os.kill(pid, number)

    def recover(self, host, fault):
        if host not in REDIS_HOSTS:
            return super().recover(host, fault)
        if fault == "stop":
            self.signal(host, signal.SIGCONT)
        elif fault == "power":
            net.cable(host, True)
        return self.redis.recover(host, fault == "power")
