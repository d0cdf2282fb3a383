"""A cluster of Eaves: an edge pair, pairs of homes, Redis; a process each, on loopback."""
import collections
import os
import secrets
import subprocess
import time

from servers import DOMAIN, Layout, import_users, say

NET = "127.77.0."
LINK, BUS, REDIS = 7401, 7400, 7379
PART, TRIES = 10000, 3  # users of an import


def role_of(name):
    return "edge" if name[0] == "e" else "home"


def pair_of(name):
    return "edge" if name[0] == "e" else name[:-1]


def bus_share(figures, name):
    """What the threads of the bus have used, ZeroMQ's too."""
    return sum(v for k, v in figures.items()
               if k.startswith(name + ".") and k.split(".")[1][:3] in ("bus", "ZMQ"))


class EavesTiers(Layout):
    """edges, homes: how many members each pair has; store: the homes'.  The edges challenge
    INVITE and MESSAGE at the address `challenged`, and trust phones at `target`."""
    name = "Eaves"

    def __init__(self, opt, users, kind="edge", edges=2, homes=2, pairs=1, store="sqlite"):
        super().__init__(opt, users)
        self.nodes = {f"e{i + 1}": NET + str(11 + i) for i in range(edges)}
        self.nodes.update({f"h{p + 1}{'ab'[i]}": NET + str(21 + 2 * p + i)
                           for p in range(pairs) for i in range(homes)})
        self.store = store
        self.target = (self.nodes["e1"], opt.port)
        self.challenged = (self.nodes["e1"], opt.port + 1)
        self.registrar = (self.nodes["h1a"], opt.port) if kind == "direct" else self.target
        self.took = {}  # seconds, by what was done
        self.pair_of_user = {}  # by number

    def own(self, name):
        return os.path.join(self.folder, name)

    def list_of_nodes(self):
        rows = ""
        for name, address in self.nodes.items():
            os.makedirs(self.own(name))
            key = subprocess.run([self.opt.edge, "--make-key", self.own(name) + "/key"],
                                 check=True, capture_output=True, text=True).stdout.strip()
            rows += (f"    - {{name: {name}, role: {role_of(name)}, pair: {pair_of(name)}, "
                     f'bus: "{address}:{BUS}", sip: "{address}:{LINK}", key: "{key}"}}\n')
        return rows

    def write_config(self, name, rows):
        home, address = role_of(name) == "home", self.nodes[name]
        edges = [a for n, a in self.nodes.items() if role_of(n) == "edge"]
        with open(self.own(name) + "/eaves.yaml", "w") as f:
            f.write(f"domain: {DOMAIN}\n"
                    f"aliases: [{', '.join(edges)}]\n"
                    f"listeners:\n"
                    f"  - {{transport: udp, address: {address}, port: {self.opt.port}, "
                    f"policy: trusted}}\n"
                    + ("" if home else
                       f"  - {{transport: udp, address: {address}, port: {self.opt.port + 1}, "
                       f"policy: challenge}}\n") +
                    f"  - {{transport: tcp, address: {address}, port: {LINK}, policy: cluster}}\n"
                    f"workers: {self.opt.our_workers}\n"
                    f"data_dir: {self.own(name)}\n"
                    f"store: {self.store if home else 'memory'}\n"
                    f"net: {{transactions: 2000000}}\n"
                    f"auth: {{lock_failures: 0, nonce_life_s: 3600}}\n"
                    f"log: {{level: warn}}\n"
                    f"cluster:\n"
                    f"  node: {name}\n"
                    f"  secret: {self.folder}/secret\n"
                    f"  bus_key: {self.own(name)}/key\n"
                    # 42 processes on two processors: late is not lost
                    f"  second_place_ms: 10000\n"
                    f"  nodes:\n{rows}"
                    + ("" if home else f'redis: {{servers: "{NET}3:{REDIS}"}}\n'))

    def start(self):
        with open(os.open(self.folder + "/secret", os.O_WRONLY | os.O_CREAT, 0o600), "wb") as f:
            f.write(secrets.token_bytes(32))
        self.run("redis", ["redis-server", "--bind", NET + "3", "--port", str(REDIS),
                           "--appendonly", "yes", "--save", "", "--dir", self.folder])
        rows = self.list_of_nodes()
        begun = time.monotonic()
        for name in self.nodes:
            self.write_config(name, rows)
            self.run(name, [getattr(self.opt, role_of(name)), "--config",
                            self.own(name) + "/eaves.yaml"])
        self.wait("alive", self.others_alive)
        self.took["start"] = time.monotonic() - begun
        self.import_all()

    def import_all(self):
        """The users, part by part, until every node has them.  What is told to have no second place
        yet is imported once more, as an operator would."""
        begun = time.monotonic()
        for first in range(0, self.users, PART):
            behind = min(first + PART, self.users)
            for left in range(TRIES, 0, -1):
                try:
                    import_users(self.opt, self.own("e1"), behind, first)
                    break
                except RuntimeError:
                    if left == 1:
                        raise
                    say(f"users {first} to {behind}: imported once more")
            self.wait("users", lambda name, n=behind: self.status(name, "users") == n, 300)
        self.took["import"] = time.monotonic() - begun
        rows = (row.split(" home=") for row in self.ctl("e1", "user", "list"))
        self.pair_of_user = {int(name[1:]): pair for name, pair in rows}

    def register_all(self):
        """Until each edge has all bindings, and each home those of its pair's users; 50 at a time
        for each pair."""
        of = collections.Counter(self.pair_of_user.values())
        begun = time.monotonic()
        super().register_all(50 * len(of))
        of["edge"] = self.users
        self.wait("bindings", lambda name: self.status(name, "bindings") == of[pair_of(name)])
        self.took["register"] = time.monotonic() - begun

    def ctl(self, name, *words):
        r = subprocess.run([self.opt.eavesctl, "--socket", self.own(name) + "/admin.sock",
                            *words], capture_output=True, text=True)
        return r.stdout.splitlines() if r.returncode == 0 else []

    def others_alive(self, name):
        """An edge hears all nodes; a home the edges and its other member."""
        heard = [n for n in self.nodes if n != name and
                 (role_of(name) == "edge" or pair_of(n) in ("edge", pair_of(name)))]
        alive = [x for x in self.ctl(name, "cluster", "status") if " alive" in x]
        return len(alive) >= len(heard)

    def status(self, name, what):
        for line in self.ctl(name, "status"):
            key, _, value = line.partition(" ")
            if key == what:
                return int(value)
        return -1

    def wait(self, what, there, seconds=60):
        end = time.monotonic() + seconds
        for name in self.nodes:
            while not there(name):
                if not self.alive(name) or time.monotonic() > end:
                    raise RuntimeError(f"{what}: {self.failed(name)}")
                time.sleep(0.05)

    def stop_node(self, name):
        p = self.processes.pop(name)
        p.terminate()
        p.wait(20)
        del self.nodes[name]

    def load(self, work, *args):
        f = super().load(work, *args)
        homes = sorted((n for n in self.nodes if n[0] == "h"), key=lambda n: -f[n])
        pair = ["e1", homes[0]] if "e1" in self.nodes else homes[:1]
        f["both"] = sum(f[n] for n in pair)
        f["edge"], f["home"] = f.get("e1", 0), f[homes[0]]
        f["other_home"] = f[homes[1]] if len(homes) > 1 else 0
        f["other_edge"] = f.get("e2", 0)
        f["bus"] = sum(bus_share(f, n) for n in pair)
        f["sip"] = f["both"] - f["bus"]
        return f

    def resident(self):
        """Bytes by process."""
        out = {}
        for name, p in self.processes.items():
            with open(f"/proc/{p.pid}/status") as f:
                out[name] = next(int(x.split()[1]) for x in f if x.startswith("VmRSS:")) * 1024
        return out
