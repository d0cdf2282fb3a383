"""Kamailio 5.6 in the lab, in the best arrangement that its documents describe.

Edge pair and home pairs have a service address each, moved by keepalived; both members are up.  The
homes share registrations through dmq_usrloc, and the secret of their digests, so that either takes
the other's nonces.  `layout`: the edge forwards without state, which loses least; or with state; or it
tries a member's own address too when the service address does not answer (t_ fail-over).
"""
import os
import re
import subprocess

import net
from cluster import Cluster, DOMAIN, HERE, SIP


class Kamailio(Cluster):
    layout = ()
    name = "kamailio"

    def command(self, host):
        pair = net.pair_of(host)
        own, vip = net.address(host), net.service(pair)
        other = [h for h in net.members(pair) if h != host][0]
        role = "edge" if pair == "e" else "home"
        words = ["/usr/sbin/kamailio", "-f", os.path.join(HERE, "kamailio", role + ".cfg"),
                 "-DD", "-m", "1024", "-M", "8", "-n", "2", "-N", "2",
                 "-Y", self.path(host, "run"), "-w", self.folder,
                 "-P", self.path(host, "kamailio.pid")]
        os.makedirs(self.path(host, "run"), exist_ok=True)
        for at in (vip, own):
            for transport in self.transports:
                words += ["-l", f"{transport}:{at}:{SIP}"]
        if role == "home":
            words += ["-l", f"udp:{own}:{SIP + 2}"]
        defines = {"NUSERS": self.opt.users, "VIP": vip, "DOMAIN": f'"{DOMAIN}"',
                   "CTL": f'"unix:{self.control(host)}"', "EDGE": f'"{net.service("e")}"',
                   "H1": f'"{net.service("h1")}"', "H2": f'"{net.service("h2")}"',
                   "OWN": f'"sip:{own}:{SIP + 2}"',
                   "PEER": f'"sip:{net.address(other)}:{SIP + 2}"',
                   "HERE": 0 if pair == "h1" else 1}
        for n, h in enumerate(m for p in self.homes for m in net.members(p)):
            defines[f"M{n}"] = f'"{net.address(h)}"'
        for name, value in defines.items():
            words += ["-A", f"{name}={value}"]
        for define in self.layout:
            words += ["-A", define]
        return words

    def control(self, host):
        return f"/tmp/{net.PREFIX}-{host}.ctl"  # a short path: unix sockets want one

    def rpc(self, host, *words):
        r = subprocess.run(["kamcmd", "-s", f"unix:{self.control(host)}", *words],
                           capture_output=True, text=True, timeout=20, env=net.environment())
        return r.stdout if r.returncode == 0 else ""

    def count(self, host):
        found = re.search(r"location_contacts = (\d+)",
                          self.rpc(host, "stats.get_statistics", "usrloc:"))
        return int(found.group(1)) if found else -1

    def ready(self, host):
        pair = net.pair_of(host)
        if pair == "e":
            return True
        # what it does not get within its synchronisation it never gets: some are let be missing
        mine, its = (self.count(h) for h in
                     (host, [m for m in net.members(pair) if m != host][0]))
        return mine >= 0.9 * its

    def bindings(self, host):
        found, user = set(), ""
        for line in self.rpc(host, "ul.dump").splitlines():
            key, _, value = line.strip().partition(": ")
            if key == "AoR":
                user = value
            elif key == "Address":
                found.add((user, value.split(";")[0]))
        return found


class KamailioStateful(Kamailio):
    layout = ("STATEFUL",)
    name = "kamailio-stateful"


class KamailioFailover(Kamailio):
    layout = ("STATEFUL", "FAILOVER")
    name = "kamailio-failover"
