"""Tables of results, for people and for docs/cluster.md."""
import os
import statistics
import time

import net

BEGIN, END = "<!-- lab: {} begin -->", "<!-- lab: {} end -->"
NAMES = {"eaves": "Eaves", "kamailio": "Kamailio, stateless edge",
         "kamailio-stateful": "Kamailio, stateful edge",
         "kamailio-failover": "Kamailio, stateful edge with fail-over"}
PARTS = ("setup", "series", "streams", "partition", "sipp")  # the last has tables of its own
FAULTS = {"kill": "kill -9", "power": "power off", "stop": "SIGSTOP 5 s", "drain": "SIGTERM",
          "stranded": "no home reached, 3 s", "random": "at random"}
CUTS = {"pair": "the members of the pair", "cluster": "a member of each pair with Redis, and the others"}
ZERO = ("failed", "cancel_missing", "cancel_wrong", "rang_twice", "rang_late", "order", "bye_wrong",
        "message_failed", "message_lost", "message_partial", "register_failed", "bindings_lost")
ZERO_SIPP = ("failed", "no_487", "rings_on", "rang_twice", "order", "message_failed", "message_lost",
             "register_failed", "bindings_lost", "not_ended")


def faults_of(result):
    """Everything that should be 0 in one cluster's results."""
    rows = result["series"] + result["streams"]
    n = sum(r["sum"][k] for r in rows for k in ZERO)
    n += sum(r["audit_lost"] + r["audit_back"] + r["audit_failed"] + len(r.get("wrong", []))
             for r in rows)
    n += sum(r["waits"]["answer"] > 5000 for r in result["streams"])
    n += sum(r["lost"] + r["cancel_missing"] + r["other"] for r in result["setup"])
    n += sum(sum(r[k] for k in ZERO_SIPP) + sum(r["odd"].values()) + len(r["wrong"])
             for r in result.get("sipp", []))
    for p in result["partition"]:
        n += p["failed"] + sum(p[k] for k in ("lost_a", "lost_b", "back_a", "back_b"))
        n += p["equal_after_s"] is None or p["equal_after_s"] > 5
    return n


def table(head, rows):
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for r in rows:
        yield "| " + " | ".join(str(x) for x in r) + " |"
    yield ""


def series_rows(result):
    for r in result["series"]:
        s = r["sum"]
        wrong = f" ({', '.join(r['wrong'])})" if r.get("wrong") else ""
        yield [FAULTS[r["fault"]] + wrong, r["target"], r["rounds"], s["calls"], s["failed"],
               s["cancel_missing"], s["cancel_wrong"],
               s["rang_twice"] + s["rang_late"] + s["order"] + s["bye_wrong"],
               f"{s['register_failed']} / {s['bindings_lost'] + r['audit_lost']}",
               f"{s['message_failed']} / {s['message_lost'] + s['message_partial']}",
               f"{statistics.median(r['gaps']):.0f} / {max(r['gaps'])}"]


def stream_rows(results):
    for result in results:
        for r in result["streams"]:
            s = r["sum"]
            yield [NAMES[result["name"]], r["transport"].upper(), FAULTS[r["fault"]], r["target"],
                   r["rounds"], s["calls"], s["failed"], s["cancel_missing"], s["cancel_wrong"],
                   f"{s['register_failed']} / {s['bindings_lost'] + r['audit_lost']}",
                   f"{s['message_failed']} / {s['message_lost'] + s['message_partial']}",
                   r["waits"]["reconnect"], r["waits"]["answer"]]


def setup_rows(results):
    """What, and for each cluster the calls lost when a home and when an edge is killed."""
    keys = []
    for r in results:
        for s in r["setup"]:
            if s["what"] not in keys:
                keys.append(s["what"])
    for what in keys:
        row = [what]
        for r in results:
            for killed in ("home", "edge"):
                found = [s for s in r["setup"] if s["what"] == what and s["killed"] == killed]
                row.append("-" if not found else " ".join(
                    f"{s['lost']} of {s['calls']}"
                    + (f" ({s['cancel_missing']} ring on)" if s["cancel_missing"] else "")
                    for s in found))
        yield row


def partition_rows(results):
    for r in results:
        for p in r["partition"]:
            equal = ("never (30 s)" if p["equal_after_s"] is None
                     else f"{p['equal_after_s']} s")
            yield [NAMES[r["name"]], CUTS[p["what"]], p["seconds"], p["registers"], p["failed"],
                   p.get("apart", "-"), equal, p["differ"], f"{p['lost_a']} / {p['lost_b']}",
                   f"{p['back_a']} / {p['back_b']}"]


def sipp_rows(results):
    for result in results:
        for r in result.get("sipp", []):
            wrong = f" ({', '.join(r['wrong'])})" if r["wrong"] else ""
            yield [NAMES[result["name"]], FAULTS[r["fault"]] + wrong, r["target"], r["rounds"],
                   f"{r['calls']} / {r['failed']}", f"{r['given_up']} / {r['no_487']}", r["rings_on"],
                   r["rang_twice"] + r["order"],
                   f"{r['registers']} / {r['register_failed']} / {r['bindings_lost']}",
                   f"{r['messages']} / {r['message_failed']} / {r['message_lost']}",
                   sum(r["odd"].values()) + r["not_ended"], max(r["waits"].values())]


def days(results):
    """When what is in the tables was measured: a day, or from one to another."""
    all_days = sorted({row.get("date", time.strftime("%Y-%m-%d"))
                       for r in results for key in PARTS if key != "sipp" for row in r[key]})
    return " to ".join(dict.fromkeys((all_days[0], all_days[-1]))) if all_days else "nothing"


def markdown(results):
    lines = [f"Written by `make lab` ({days(results)}, {os.cpu_count()} processors): do not edit.", ""]
    if any(r["setup"] for r in results):
        lines += ["**Calls that ring when a server is killed (-9): lost, of those that rang.**", ""]
        head = ["calls"]
        for r in results:
            head += [f"{NAMES[r['name']]}: home killed", "edge killed"]
        lines += table(head, setup_rows(results))
    for r in results:
        if not r["series"]:
            continue
        lines += [f"**{NAMES[r['name']]}, under load.** 200 calls, 50 messages and 50 REGISTERs a "
                  "second.", ""]
        lines += table(["fault", "of", "rounds", "calls", "failed", "CANCEL missing",
                        "CANCEL wrong", "rung wrongly", "REGISTER failed / bindings lost",
                        "MESSAGE failed / lost", "longest gap, median / worst, ms"],
                       series_rows(r))
    if any(r["streams"] for r in results):
        lines += ["**Phones with a connection each**, 50 calls a second; answer: from when both phones "
                  "are back.", ""]
        lines += table(["", "", "fault", "of", "rounds", "calls", "failed", "CANCEL missing",
                        "CANCEL wrong", "REGISTER failed / bindings lost",
                        "MESSAGE failed / lost", "away, worst, ms", "answer, worst, ms"],
                       stream_rows(results))
    if any(r["partition"] for r in results):
        lines += ["**Partitions, registrations at both members of a pair of homes.**", ""]
        lines += table(["", "cut between", "seconds", "REGISTERs", "failed", "bindings that differed before",
                        "equal after healing", "that differ then", "lost (a / b)", "back again (a / b)"],
                       partition_rows(results))
    return "\n".join(lines)


def sipp_markdown(results):
    found = sorted({r["date"] for result in results for r in result.get("sipp", [])})
    lines = [f"**Load by SIPp** ({found[0]}), whose phones are not ours: 200 calls, a tenth of them given up, "
             "50 messages and 50 REGISTERs a second, by UDP through the edge.", ""]
    lines += table(["", "fault", "of", "rounds", "calls / failed", "given up / without 487", "ring on",
                    "rung wrongly", "REGISTERs / failed / bindings lost", "MESSAGEs / failed / lost",
                    "unexpected", "longest wait, ms"], sipp_rows(results))
    return "\n".join(lines)


def write(result):
    """The tables of one cluster, in place of those that it had in docs/cluster.md."""
    if any(result[key] for key in PARTS if key != "sipp"):
        write_between(result["name"], markdown([result]))
    if result.get("sipp"):
        write_between(result["name"] + "-sipp", sipp_markdown([result]))


def write_between(name, text):
    path = os.path.join(net.ROOT, "docs", "cluster.md")
    begin, end = (mark.format(name) for mark in (BEGIN, END))
    with open(path, encoding="utf-8") as f:
        old = f.read()
    if begin not in old or end not in old:
        raise SystemExit(f"{path} has no lines {begin} and {end} to write between")
    head, _, rest = old.partition(begin)
    _, _, tail = rest.partition(end)
    with open(path, "w", encoding="utf-8") as f:
        f.write(head + begin + "\n" + text + "\n" + end + tail)
