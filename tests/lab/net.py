"""Hosts as network namespaces: a bridge in a namespace of its own, and a veth for each host.

Nothing touches the machine's own network.  Names carry a prefix that belongs to this checkout, so that
two labs do not meet and what a crashed one left behind can be taken away (`lab.py down`).
"""
import glob
import hashlib
import os
import signal
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PREFIX = "eavl" + hashlib.sha256(ROOT.encode()).hexdigest()[:4]
SWITCH = PREFIX + "-sw"
HOSTS = {"e1": 11, "e2": 12, "h1a": 21, "h1b": 22, "h2a": 31, "h2b": 32,
         "r1": 41, "r2": 42, "r3": 43, "p1": 51, "p2": 52}
# Service addresses: the edge pair, and each home pair.
PAIRS = {"e": (10, ("e1", "e2")), "h1": (20, ("h1a", "h1b")), "h2": (30, ("h2a", "h2b"))}
NETWORK = "10.88.0"
os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def run(*words, check=True, quiet=False):
    r = subprocess.run(words, capture_output=True, text=True)
    if check and r.returncode:
        raise RuntimeError(f"{' '.join(words)}: {r.stderr.strip()}")
    if r.returncode and not quiet and check:
        print(r.stderr)
    return r.stdout


def possible():
    """None, or why namespaces cannot be made here."""
    if os.geteuid() != 0:
        return "not root"
    for tool in ("ip", "nsenter", "nft", "keepalived"):
        if subprocess.run(["sh", "-c", f"command -v {tool}"], capture_output=True,
                          env=environment()).returncode:
            return f"{tool} is not installed"
    name = PREFIX + "-try"
    try:
        run("ip", "netns", "add", name)
        run("ip", "-n", name, "link", "add", "br0", "type", "bridge")
    except RuntimeError as e:
        return str(e)
    finally:
        run("ip", "netns", "del", name, check=False)
    return None


def environment():
    return dict(os.environ, LC_ALL="C")


def address(host):
    return f"{NETWORK}.{HOSTS[host]}"


def service(pair):
    return f"{NETWORK}.{PAIRS[pair][0]}"


def members(pair):
    return PAIRS[pair][1]


def pair_of(host):
    for name, (_, hosts) in PAIRS.items():
        if host in hosts:
            return name
    return None


def namespace(host):
    return f"{PREFIX}-{host}"


def inside(host, *words):
    """The command line that runs words in a host; it keeps its process id."""
    return ["nsenter", f"--net=/run/netns/{namespace(host)}", "--", *words]


def sysctl(host, key, value):
    run(*inside(host, "sysctl", "-q", "-w", f"{key}={value}"))


def up(hosts=HOSTS):
    down()
    run("ip", "netns", "add", SWITCH)
    run("ip", "-n", SWITCH, "link", "set", "lo", "up")
    run("ip", "-n", SWITCH, "link", "add", "br0", "type", "bridge", "stp_state", "0",
        "forward_delay", "0", "mcast_snooping", "0")
    run("ip", "-n", SWITCH, "link", "set", "br0", "up")
    for host in hosts:
        ns = namespace(host)
        run("ip", "netns", "add", ns)
        run("ip", "-n", ns, "link", "set", "lo", "up")
        run("ip", "link", "add", "eth0", "netns", ns, "type", "veth", "peer", "name", host,
            "netns", SWITCH)
        run("ip", "-n", SWITCH, "link", "set", host, "master", "br0", "up")
        run("ip", "-n", ns, "addr", "add", f"{address(host)}/24", "dev", "eth0")
        run("ip", "-n", ns, "link", "set", "eth0", "up")
        run("ip", "-n", ns, "route", "add", "224.0.0.0/4", "dev", "eth0")
        # both members of a pair bind the service address, whoever has it
        sysctl(host, "net.ipv4.ip_nonlocal_bind", 1)
    run(*nft("add table bridge lab"))
    run(*nft("add chain bridge lab cut { type filter hook forward priority 0 ; }"))


def nft(text):
    return inside("sw", "nft", text)


def pids(host):
    out = run("ip", "netns", "pids", namespace(host), check=False)
    return [int(x) for x in out.split()]


def kill_all(host):
    """Every process of a host, as when its power goes."""
    for _ in range(50):
        left = pids(host)
        if not left:
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.01)


def down():
    """Takes away what a lab of this checkout made, its processes too."""
    for line in run("ip", "netns", "list", check=False).splitlines():
        name = line.split()[0] if line else ""
        if name.startswith(PREFIX + "-"):
            kill_all(name[len(PREFIX) + 1:])
            run("ip", "netns", "del", name, check=False)
    for path in glob.glob(f"/tmp/{PREFIX}-*"):  # sockets of servers that were killed
        os.unlink(path)


def cable(host, plugged):
    run("ip", "-n", SWITCH, "link", "set", host, "up" if plugged else "down")


def cut(a, b):
    """Nothing passes between two hosts, either way."""
    for x, y in ((a, b), (b, a)):
        run(*nft(f"add rule bridge lab cut iifname {x} oifname {y} drop"))


def heal():
    run(*nft("flush chain bridge lab cut"))


def holder(pair):
    """The member that has the service address; None without, or while both have it."""
    found = [h for h in members(pair) if has_service(h, pair)]
    return found[0] if len(found) == 1 else None


def has_service(host, pair):
    out = run("ip", "-n", namespace(host), "-4", "-o", "addr", "show", "dev", "eth0", check=False)
    return f" {service(pair)}/" in out


def wait_for(what, test, seconds, poll=0.02):
    """The first true value of test()."""
    end = time.monotonic() + seconds
    while True:
        value = test()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(poll)
