"""Redis in the lab: three hosts, each a server and a Sentinel."""
import os
import time

import net

HOSTS = ("r1", "r2", "r3")
PORT, SENTINEL_PORT, PRIMARY = 6379, 26379, "eaves"


class Redis:
    """Of a cluster: its files and processes are there."""

    def __init__(self, cluster):
        self.cluster = cluster

    def start(self):
        for host in HOSTS:
            self.start_server(host, net.address(HOSTS[0]) if host != HOSTS[0] else None)
        net.wait_for("Redis with two replicas", lambda: self.healthy(HOSTS[0]), 20)
        for host in HOSTS:
            self.start_sentinel(host)
        for host in HOSTS:
            net.wait_for(f"Sentinel at {host}", lambda h=host: self.knows_all(h), 20)

    def servers(self):
        return ",".join(f"{net.address(h)}:{PORT}" for h in HOSTS)

    def sentinels(self):
        return ",".join(f"{net.address(h)}:{SENTINEL_PORT}" for h in HOSTS)

    def start_sentinel(self, host):
        path = self.cluster.path(host, "sentinel.conf")
        if not os.path.exists(path):  # a Sentinel keeps what it has learnt there
            with open(path, "w", encoding="ascii") as f:
                f.write(f"bind {net.address(host)}\nport {SENTINEL_PORT}\nprotected-mode no\n"
                        f"dir {self.cluster.folder}\n"
                        f"sentinel monitor {PRIMARY} {net.address(HOSTS[0])} {PORT} 2\n"
                        f"sentinel down-after-milliseconds {PRIMARY} 500\n"
                        f"sentinel failover-timeout {PRIMARY} 2000\n"
                        f"sentinel parallel-syncs {PRIMARY} 1\n")
        self.cluster.spawn(host, ["redis-server", path, "--sentinel"], "sentinel.log")

    def start_server(self, host, primary):
        folder = self.cluster.path(host, "redis")
        path = self.cluster.path(host, "redis.conf")
        os.makedirs(folder, exist_ok=True)
        if not os.path.exists(path):  # a Sentinel has it rewritten
            with open(path, "w", encoding="ascii") as f:
                f.write(f"bind {net.address(host)}\nport {PORT}\nprotected-mode no\n"
                        f"dir {folder}\nsave \"\"\nappendonly yes\nappendfsync everysec\n"
                        "min-replicas-to-write 1\nmin-replicas-max-lag 1\n"
                        "repl-diskless-sync yes\nrepl-diskless-sync-delay 0\n")
                if primary:
                    f.write(f"replicaof {primary} {PORT}\n")
        self.cluster.spawn(host, ["redis-server", path], "redis.log")

    def cli(self, host, *words, port=PORT):
        return net.run(*net.inside(host, "timeout", "2", "redis-cli", "-h", net.address(host), "-p", str(port),
                                   *words), check=False)

    def replication(self, host):
        out = {}
        for line in self.cli(host, "info", "replication").splitlines():
            key, _, value = line.partition(":")
            out[key] = value.strip()
        return out

    def knows_all(self, host):
        """A Sentinel that has not met a replica leaves it behind."""
        words = self.cli(host, "sentinel", "master", PRIMARY, port=SENTINEL_PORT).split()
        known = dict(zip(words[::2], words[1::2]))
        return (known.get("num-slaves") == "2" and known.get("num-other-sentinels") == "2"
                and known.get("flags") == "master")

    def healthy(self, primary, replicas=2):
        r = self.replication(primary)
        return r.get("role") == "master" and int(r.get("connected_slaves", 0)) >= replicas

    def primary(self):
        """Whom the Sentinels name, and who agrees."""
        def named():
            for host in HOSTS:
                out = self.cli(host, "sentinel", "get-master-addr-by-name", PRIMARY,
                               port=SENTINEL_PORT).split()
                for h in HOSTS:
                    if out and out[0] == net.address(h) and self.healthy(h, 1):
                        return h
            return None
        return net.wait_for("a Redis primary", named, 30, poll=0.1)

    def pids(self, host):
        """Of the server, not of the Sentinel."""
        out = []
        for pid in net.pids(host):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    words = f.read()
            except OSError:
                continue
            if b"redis-server" in words and b"sentinel" not in words.lower():
                out.append(pid)
        return out

    def recover(self, host, power):
        if power:
            self.start_server(host, None)
            self.start_sentinel(host)
        elif not self.pids(host):
            self.start_server(host, None)
        began = time.monotonic()
        net.wait_for(f"Redis at {host}", lambda: self.settled(host), 60, poll=0.1)
        return time.monotonic() - began

    def settled(self, host):
        """It is a replica again and has what the primary has."""
        r = self.replication(host)
        return ((r.get("role") == "slave" and r.get("master_link_status") == "up")
                or (r.get("role") == "master" and self.healthy(host, 1)
                    and self.primary() == host))
