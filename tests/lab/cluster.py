"""A cluster in the lab, whoever made its servers: hosts, keepalived, starting, faults and recovery.

A subclass says how a server of a host is started (`command`), whether it serves again (`ready`) and
what its registrar holds (`bindings`).
"""
import os
import shutil
import signal
import subprocess
import time

import keepalived
import net

HERE = os.path.dirname(os.path.abspath(__file__))
DOMAIN = "example.test"
SIP = 5060


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Cluster:
    name = ""
    homes = ("h1", "h2")
    transports = ("udp", "tcp")
    has_redis = False
    asks_callers = False    # INVITE and MESSAGE are challenged, as SIPp's callers expect
    partitions = ("pair",)  # faults.sides
    redis_hosts = ()
    tells_stranded = False  # an edge that reaches no home yields its address

    def __init__(self, opt):
        self.opt = opt
        self.folder = os.path.join(net.ROOT, "build", "lab", self.name)
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        self.wrong = []  # what a fault showed of a server that no phone sees; text
        self.processes = []  # what was started here: waited for, so that none is left a zombie

    # ---- what a subclass says ----

    def command(self, host):
        """The command line of the server of a host, and its environment's additions."""
        raise NotImplementedError

    def ready(self, host):
        """The server answers and has what its neighbour has."""
        raise NotImplementedError

    def bindings(self, host):
        """A set of (user, contact) that a home holds."""
        raise NotImplementedError

    def before(self):
        """What the servers need."""

    def after(self):
        """Once all serve."""

    # ---- life ----

    def hosts(self):
        return [h for p in ("e", *self.homes) for h in net.members(p)]

    def __enter__(self):
        try:
            net.up()
            self.before()
            for host in self.hosts():
                self.start_keepalived(host)
                self.start_server(host)
            for host in self.hosts():
                net.wait_for(f"{self.name} at {host}", lambda h=host: self.serves(h), 30)
            for pair in ("e", *self.homes):
                net.wait_for(f"service address of {pair}", lambda p=pair: net.holder(p), 10)
            self.after()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        net.down()
        for p in self.processes:
            p.wait()
        self.processes = []

    def path(self, host, what):
        return os.path.join(self.folder, f"{host}.{what}")

    def spawn(self, host, words, log, outside=False):
        """outside: it enters the host's namespace by itself."""
        with open(self.path(host, log), "ab") as f:
            p = subprocess.Popen(words if outside else net.inside(host, *words),
                                 stdin=subprocess.DEVNULL, stdout=f, stderr=f,
                                 start_new_session=True, env=net.environment())
        self.processes = [q for q in self.processes if q.poll() is None] + [p]
        return p

    def health(self, host):
        """The file that says whether the server answers."""
        return self.path(host, "health")

    def keepalived_conf(self, host):
        return keepalived.by_health(host, self.health(host))

    def start_keepalived(self, host):
        with open(self.health(host), "w", encoding="ascii") as f:
            f.write("1\n")
        conf = self.path(host, "keepalived.conf")
        with open(conf, "w", encoding="utf-8") as f:
            f.write(self.keepalived_conf(host))
        # its track_process is told of processes by a socket of the machine's own namespace
        self.spawn(host, ["keepalived", "-n", "-l", "-D", "-P", "-s", net.namespace(host),
                          "-f", conf, "-p", self.path(host, "keepalived.pid"),
                          "-r", self.path(host, "vrrp.pid")], "keepalived.log", outside=True)

    def start_server(self, host):
        for what in ("pid", "status"):
            if os.path.exists(self.path(host, what)):
                os.unlink(self.path(host, what))
        self.spawn(host, ["/usr/bin/python3", os.path.join(HERE, "guard.py"),
                          *(self.path(host, x) for x in ("log", "pid", "status")),
                          *self.guard_options(host), "--", *self.command(host)], "guard.log")

    def guard_options(self, host):
        return ["--health", self.health(host), net.address(host), str(SIP)]

    def pid(self, host):
        try:
            with open(self.path(host, "pid"), encoding="ascii") as f:
                pid = int(f.read() or 0)
        except (FileNotFoundError, ValueError):
            return None
        return pid if pid and alive(pid) else None

    def serves(self, host):
        """As its health check has it."""
        return self.says_well(self.health(host))

    @staticmethod
    def says_well(path):
        """0, as keepalived takes it."""
        try:
            with open(path, encoding="ascii") as f:
                return f.read().strip() == "0"
        except FileNotFoundError:
            return False

    # ---- faults: each leaves the rest of the cluster alone ----

    def signal(self, host, number):
        """To the server and its children: they are a session of their own."""
        pid = self.pid(host)
        if pid:
            os.killpg(pid, number)

    def kill(self, host):
        self.signal(host, signal.SIGKILL)

    def power_off(self, host):
        net.cable(host, False)
        net.kill_all(host)

    def stop(self, host):
        self.signal(host, signal.SIGSTOP)

    def drain(self, host):
        """SIGTERM to the server, which tells its children."""
        pid = self.pid(host)
        if pid:
            os.kill(pid, signal.SIGTERM)

    def strand(self, host):
        """It reaches phones and the other edge, and no home."""
        for pair in self.homes:
            for home in net.members(pair):
                net.cut(host, home)

    def drained(self, host):
        """The server has ended after drain(): was it as it should be?"""

    def exit_status(self, host):
        """Of the server that has ended, as its parent has it: text."""
        def read():
            try:
                with open(self.path(host, "status"), encoding="ascii") as f:
                    return f.read().strip()
            except FileNotFoundError:
                return None
        return net.wait_for(f"status of {host}", read, 5)

    def go_on(self, host):
        self.signal(host, signal.SIGCONT)

    def recover(self, host, fault):
        """Until it serves again and has what its neighbour has."""
        if fault == "stop":
            self.go_on(host)
        elif fault == "stranded":
            net.heal()
        else:
            net.wait_for(f"end of {host}", lambda: not self.pid(host), 10)
            if fault == "drain":
                self.drained(host)
            if fault == "power":
                net.run("ip", "-n", net.namespace(host), "addr", "flush", "dev", "eth0")
                net.run("ip", "-n", net.namespace(host), "addr", "add",
                        f"{net.address(host)}/24", "dev", "eth0")
                net.run("ip", "-n", net.namespace(host), "route", "replace", "224.0.0.0/4",
                        "dev", "eth0")
                net.cable(host, True)
                self.start_keepalived(host)
            self.start_server(host)
        began = time.monotonic()
        net.wait_for(f"{host} after {fault}", lambda: self.serves(host) and self.ready(host), 30)
        return time.monotonic() - began

    def active(self, pair):
        """The member that does the work now, or will."""
        return net.wait_for(f"one holder of {pair}", lambda: net.holder(pair), 10)

    def standby(self, pair):
        active = self.active(pair)
        return [h for h in net.members(pair) if h != active][0]
