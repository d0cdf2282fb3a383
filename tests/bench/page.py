"""The page of figures: a part each behind a mark, so that one is written and the others stay."""
import os

MARK = "<!-- bench: "


def read(path):
    """The parts' texts by name."""
    parts, name = {}, None
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            for line in f:
                if line.startswith(MARK):
                    name = line[len(MARK):].split()[0]
                    parts[name] = ""
                elif name:
                    parts[name] += line
    return parts


def write(path, head, order, name, text):
    """Part `name` anew.  A part that is not in `order` any more goes."""
    parts = {**read(path), name: text}
    with open(path, "w", encoding="utf-8") as f:
        f.write(head)
        for n in order:
            if n in parts:
                f.write(f"\n{MARK}{n} -->\n" + parts[n].strip("\n") + "\n")
