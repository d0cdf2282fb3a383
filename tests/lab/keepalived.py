"""keepalived's configuration: for Eaves what docs/cluster.md tells operators to run, with other names."""
import os

import net

DOCS = os.path.join(net.ROOT, "docs", "cluster.md")
FIRST = "    # /etc/keepalived/keepalived.conf"


def example():
    """The block of the document, as it stands there."""
    with open(DOCS, encoding="utf-8") as f:
        lines = f.read().split("\n")
    begins = [n for n, line in enumerate(lines) if line.startswith(FIRST)]
    if len(begins) != 1:
        raise RuntimeError(f"{DOCS} has no one block that begins with {FIRST.strip()}")
    out = []
    for line in lines[begins[0]:]:
        if not line.startswith("    "):
            break
        out.append(line[4:])
    return "\n".join(out) + "\n"


def documented(host, data_dir, health, command):
    """The example with what is another's at this host; all else is left alone."""
    pair = net.pair_of(host)
    text = example()
    for there, here in (("router_id h1a", f"router_id {host}"),
                        ('"/var/lib/eaves/drain"', f'"{data_dir}/drain"'),
                        ('"/var/lib/eaves/stranded"', f'"{data_dir}/stranded"'),
                        ('"/run/eaves/health"', f'"{health}"'),
                        ('process "/usr/local/bin/eaves-home" "--config" "/etc/eaves/h1a.yaml"',
                         "process " + " ".join(f'"{word}"' for word in command)),
                        ("vrrp_instance h1 ", f"vrrp_instance {pair} "),
                        ("virtual_router_id 20\n", f"virtual_router_id {net.PAIRS[pair][0]}\n"),
                        ("192.0.2.20/24", f"{net.service(pair)}/24")):
        if text.count(there) != 1:
            raise RuntimeError(f"{DOCS}: its keepalived.conf has no one {there!r}")
        text = text.replace(there, here)
    return text


def by_health(host, health):
    """The peer's: one file, and an address that stays where it is."""
    pair = net.pair_of(host)
    return f"""global_defs {{
	router_id {host}
}}
track_file health {{
	file "{health}"
	weight 0
}}
vrrp_instance {pair} {{
	state BACKUP
	nopreempt
	interface eth0
	virtual_router_id {net.PAIRS[pair][0]}
	priority {120 if net.members(pair)[0] == host else 100}
	version 3
	advert_int 0.1
	garp_master_refresh 1
	virtual_ipaddress {{
		{net.service(pair)}/24 dev eth0
	}}
	track_file {{
		health weight 0
	}}
}}
"""
