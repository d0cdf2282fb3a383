"""The servers that are measured: each a folder with processes of its own, driven by sipload.

Only processes started here are stopped.
"""
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
DOMAIN = "example.test"


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def answers(host, port, seconds, alive):
    """Waits until an OPTIONS is answered; False when it is not, or when alive() says no."""
    ping = ("OPTIONS sip:{2} SIP/2.0\r\n"
            "Via: SIP/2.0/UDP 127.0.0.1:{0};branch=z9hG4bK{1}\r\nMax-Forwards: 70\r\n"
            "From: <sip:ping@{2}>;tag=1\r\nTo: <sip:{2}>\r\n"
            "Call-ID: ping{1}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n")
    end = time.monotonic() + seconds
    n = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        s.settimeout(0.2)
        while time.monotonic() < end and alive():
            n += 1
            text = ping.format(s.getsockname()[1], f"{os.getpid()}x{n}", DOMAIN)
            try:
                s.sendto(text.encode(), (host, port))
                if s.recv(4096).startswith(b"SIP/2.0"):
                    return True
            except (socket.timeout, ConnectionRefusedError):
                time.sleep(0.05)
    return False


class Layout:
    """Processes by name; phones talk to `target`, and register at `registrar`."""

    name = ""

    def __init__(self, opt, users):
        self.opt, self.users = opt, users
        self.target = self.registrar = ("127.0.0.1", opt.port)
        self.processes, self.logs = {}, []
        self.folder = tempfile.mkdtemp(prefix="eaves-bench-")

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for p in self.processes.values():
            p.terminate()
        for p in self.processes.values():
            try:
                p.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(p.pid, signal.SIGKILL)  # the session that was made in run()
                p.wait()
        for f in self.logs:
            f.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self):
        raise NotImplementedError

    def run(self, name, command):
        log = open(os.path.join(self.folder, name + ".log"), "w")
        self.logs.append(log)
        self.processes[name] = subprocess.Popen(
            command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log,
            stderr=subprocess.STDOUT, start_new_session=True)

    def alive(self, name):
        return self.processes[name].poll() is None

    def failed(self, name):
        with open(os.path.join(self.folder, name + ".log")) as f:
            return RuntimeError(f"{name} of {self.name} does not answer:\n" + f.read()[-2000:])

    def wait_ready(self, name, where, seconds=60):
        if not answers(*where, seconds, lambda: self.alive(name)):
            raise self.failed(name)

    def load(self, work, *args):
        """One run of sipload: its figures by name."""
        to = self.registrar if work in ("reg", "rereg") else self.target
        cmd = [self.opt.sipload, work, "--target", "%s:%d" % to, "--users", str(self.users),
               "--domain", DOMAIN, "--pid", ",".join(str(p.pid) for p in self.processes.values()),
               "--port", "31000", *map(str, args)]
        r = subprocess.run(cmd, capture_output=True, text=True, timeout=900)
        figures = {}
        for line in r.stdout.splitlines():
            name, value, _ = line.split(None, 2)
            figures[name] = float(value)
        if "rate" not in figures:
            raise RuntimeError(" ".join(cmd) + ": " + r.stderr)
        self.name_threads(figures)
        return figures

    def name_threads(self, figures):
        """cpu.PID.THREAD becomes NAME.THREAD, and NAME their sum."""
        names = {str(p.pid): n for n, p in self.processes.items()}
        for key in [k for k in figures if k.startswith("cpu.")]:
            _, pid, thread = key.split(".", 2)
            name, value = names[pid], figures.pop(key)
            figures[f"{name}.{thread}"] = figures.get(f"{name}.{thread}", 0) + value
            figures[name] = figures.get(name, 0) + value

    def register_all(self, window=50):
        self.load("reg", "--window", window, "--count", self.users)


def kamailio_command(opt, folder, name, config, host, port, users, workers, *defines):
    """One instance: a shared memory, processes for messages, defines."""
    own = os.path.join(folder, name)
    os.makedirs(own, exist_ok=True)
    cmd = ["/usr/sbin/kamailio", "-f", os.path.join(HERE, "kamailio", config), "-l",
           f"udp:{host}:{port}", "-m", "4096", "-M", "32", "-n", str(workers), "-x", "fm", "-b",
           "4194304", "-DD", "-Y", own, "-w", own, "-P", os.path.join(own, "pid"), "-A",
           f"NUSERS={users}"]
    for d in defines:
        cmd += ["-A", d]
    return cmd


class Kamailio(Layout):
    name = "Kamailio"

    def __init__(self, opt, users, durable=False, challenged=False):
        super().__init__(opt, users)
        self.durable, self.challenged = durable, challenged

    def start(self):
        defines = ["CALLAUTH"] if self.challenged else []
        if self.durable:
            defines.append(f'DBURL="sqlite:///{self.make_database()}"')
        # two processes that write one SQLite file fail each other's writes
        workers = 1 if self.durable else self.opt.workers
        self.run("one", kamailio_command(self.opt, self.folder, "one", "one.cfg", *self.target,
                                         self.users, workers, *defines))
        self.wait_ready("one", self.target)

    def make_database(self):
        path = os.path.join(self.folder, "location.sqlite")
        db = sqlite3.connect(path)
        db.execute("PRAGMA journal_mode=WAL")
        for script in ("standard-create.sql", "usrloc-create.sql"):
            with open("/usr/share/kamailio/db_sqlite/" + script) as f:
                db.executescript(f.read())
        db.commit()
        db.close()
        return path


def import_users(opt, folder, users, first=0):
    """Users first to users - 1."""
    text = "".join(f"u{i} p{i}\n" for i in range(first, users))
    r = subprocess.run([opt.eavesctl, "--socket", os.path.join(folder, "admin.sock"), "user",
                        "import"], input=text, capture_output=True, text=True, timeout=300)
    if r.returncode:
        raise RuntimeError("user import: " + r.stdout + r.stderr)


class Eaves(Layout):
    name = "Eaves"

    def __init__(self, opt, users, durable=False, challenged=False):
        super().__init__(opt, users)
        self.durable, self.challenged = durable, challenged

    def start(self):
        policy = "challenge" if self.challenged else "trusted"
        store = "sqlite" if self.durable else "memory"
        path = os.path.join(self.folder, "eaves.yaml")
        with open(path, "w") as f:
            f.write(f"domain: {DOMAIN}\n"
                    f"listeners:\n"
                    f"  - {{transport: udp, address: {self.target[0]}, port: {self.target[1]}, "
                    f"policy: {policy}}}\n"
                    f"workers: {self.opt.our_workers}\n"
                    f"data_dir: {self.folder}\n"
                    f"store: {store}\n"
                    f"net: {{transactions: 2000000}}\n"
                    f"auth: {{lock_failures: 0, nonce_life_s: 3600}}\n"
                    f"log: {{level: warn}}\n")
        self.run("one", [self.opt.combined, "--config", path])
        self.wait_ready("one", self.target)
        import_users(self.opt, self.folder, self.users)
