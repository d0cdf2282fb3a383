"""Figures of all runs, and how they are written down."""
import statistics


class Results:
    """(variant, work, figure) -> {server: [one a round]}"""

    def __init__(self):
        self.v = {}

    def add(self, variant, work, server, figures):
        for name, value in figures.items():
            self.v.setdefault((variant, work, name), {}).setdefault(server, []).append(value)

    def get(self, variant, work, name, server):
        return self.v.get((variant, work, name), {}).get(server, [])

    def ratio(self, variant, work, name, ours="Eaves", theirs="Kamailio"):
        a = self.get(variant, work, name, theirs)
        b = self.get(variant, work, name, ours)
        return [y / x for x, y in zip(a, b) if x > 0]


def spread(v, digits=1):
    if not v:
        return "-"
    m = f"{statistics.median(v):.{digits}f}"
    return m if len(v) < 2 else f"{m} ({min(v):.{digits}f} to {max(v):.{digits}f})"


def verdict(values, limit):
    if not values:
        return "-"
    return "reached" if statistics.median(values) <= limit else "**missed**"


class Report:
    def __init__(self):
        self.lines = []

    def add(self, line=""):
        self.lines.append(line)

    def table(self, head, rows):
        self.add()
        self.add("| " + " | ".join(head) + " |")
        self.add("|" + "---|" * len(head))
        for r in rows:
            self.add("| " + " | ".join(r) + " |")
