#!/usr/bin/env python3
"""The house rules that a program can check: floors, owners of third-party headers, sizes, words.

Usage: lint.py [ROOT].  One line for each fault, exit 1 with any.  The tables are floors, owners and
allow, in ROOT/tests/lint.  Formatting is clang-format's (lint.mk), not this program's.
"""
import fnmatch
import os
import re
import sys

C_MAX, H_MAX, FUNCTION_MAX, COLUMNS, TAB = 600, 250, 80, 96, 8
TOP = ("common", "edge", "home", "proto", "tests")
# Folders whose machines must name every state in their switches over a state.
MACHINES = ("common/txn", "common/proxy")
SYSTEM = re.compile(
    r"(sys|netinet|arpa|net|linux)/\w+\.h$|(assert|ctype|dirent|dlfcn|emmintrin|endian|errno|execinfo|"
    r"fcntl|float|getopt|glob|grp|ifaddrs|immintrin|inttypes|libgen|limits|locale|malloc|math|"
    r"memory|netdb|poll|pthread|pty|pwd|regex|sched|search|semaphore|setjmp|signal|stdalign|"
    r"stdarg|stdatomic|stdbool|stddef|stdint|stdio|stdlib|string|strings|sysexits|syslog|"
    r"termios|threads|time|unistd|utmp|wchar)\.h$|sanitizer/\w+\.h$|valgrind/\w+\.h$")
INCLUDE = re.compile(r'\s*#\s*include\s*(["<])([^">]+)[">]')
# Spelt so that this file does not hold them itself.
WORDS = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")


def read_table(path):
    """'name: a b c' lines as a dictionary of lists."""
    table = {}
    with open(path, encoding="utf-8") as f:
        for line in f:
            line = line.split("#", 1)[0].strip()
            if line:
                name, _, rest = line.partition(":")
                table[name.strip()] = rest.split()
    return table


def over_state(lines):
    """The last line is the default of a switch over a state."""
    m = re.match(r"(\s*)default\s*:", lines[-1])
    if not m:
        return False
    for text in reversed(lines[:-1]):
        found = re.match(re.escape(m.group(1)) + r"switch \((.*)", text)
        if found:
            return "state" in found.group(1)
    return False


class Lint:
    def __init__(self, root):
        self.root = root
        here = os.path.join(root, "tests/lint")
        self.floors = read_table(os.path.join(here, "floors"))
        self.owners = read_table(os.path.join(here, "owners"))
        self.allow, self.used = {}, set()
        with open(os.path.join(here, "allow"), encoding="utf-8") as f:
            for line in f:
                parts = line.split("#", 1)[0].split(None, 2)
                if parts and len(parts) < 3:
                    self.allow[("allow", line.strip())] = ""
                elif parts:
                    self.allow[(parts[0], parts[1])] = parts[2]
        self.faults = []

    def fault(self, rule, path, line, text, function=None):
        for what in (path, f"{path}:{function}"):
            if (rule, what) in self.allow:
                self.used.add((rule, what))
                return
        self.faults.append(f"{path}:{line}: {text} [{rule}]")

    def files(self):
        for top in TOP:
            for folder, dirs, names in os.walk(os.path.join(self.root, top)):
                dirs.sort()
                for name in sorted(names):
                    if name.endswith((".c", ".h")):
                        yield os.path.relpath(os.path.join(folder, name), self.root)

    def include_ours(self, path, line, target):
        folder, to = os.path.dirname(path), os.path.dirname(target)
        if folder == to or folder == "tests" or folder.startswith("tests/"):
            return
        if folder not in self.floors:
            self.fault("include", path, line, f"folder {folder} is not in tests/lint/floors")
        elif not to:
            self.fault("include", path, line, f'"{target}": the full path from the root, please')
        elif not any(fnmatch.fnmatchcase(to, a) for a in self.floors[folder]):
            self.fault("include", path, line, f"{folder} may not include {to}: upward or sideways")
        elif target.endswith("_priv.h"):
            self.fault("include", path, line, f"{target} is private to {to}")

    def include_theirs(self, path, line, target):
        folder = os.path.dirname(path)
        for prefix, folders in self.owners.items():
            if target.startswith(prefix):
                if not folder.startswith("tests") and folder not in folders:
                    owner = " ".join(folders) or "the tests"
                    self.fault("third-party", path, line, f"<{target}> belongs to {owner}")
                return
        if not SYSTEM.match(target):
            self.fault("third-party", path, line, f"<{target}> has no owner in tests/lint/owners")

    def includes(self, path, lines):
        for n, text in enumerate(lines, 1):
            m = INCLUDE.match(text)
            if not m:
                continue
            if m.group(1) == '"':
                self.include_ours(path, n, m.group(2))
            else:
                self.include_theirs(path, n, m.group(2))

    def functions(self, path, lines):
        """In this style a function's braces are the only ones that stand alone in column 1."""
        start = name = None
        for n, text in enumerate(lines, 1):
            if text == "{" and start is None:
                start = n
                head = " ".join(lines[max(0, n - 6):n - 1])
                found = re.findall(r"(\w+)\s*\(", head.split(";")[-1].split("}")[-1])
                name = found[0] if found else "?"
            elif text == "}" and start is not None:
                if n - start + 1 > FUNCTION_MAX:
                    self.fault("function-size", path, start,
                               f"{name}() has {n - start + 1} lines, at most {FUNCTION_MAX}", name)
                start = None

    def sizes(self, path, lines):
        most = H_MAX if path.endswith(".h") else C_MAX
        if len(lines) > most:
            self.fault("file-size", path, 1, f"{len(lines)} lines, at most {most}")
        for n, text in enumerate(lines, 1):
            if len(text.expandtabs(TAB)) > COLUMNS:
                self.fault("line-length", path, n, f"more than {COLUMNS} columns")

    def words(self, path, lines):
        if not lines or not lines[0].startswith("/*"):
            self.fault("head", path, 1, "no head comment: what this is, and what is not here")
        machine = os.path.dirname(path) in MACHINES
        for n, text in enumerate(lines, 1):
            if WORDS.search(text):
                self.fault("word", path, n, "unfinished business does not go into the tree")
            if "/wo" "rk/" in text:
                self.fault("word", path, n, "a path of somebody's machine")
            if re.match(r"\s*typedef\s+(struct|union)\b", text):
                self.fault("typedef", path, n, "no typedef of structs")
            if machine and over_state(lines[:n]):
                self.fault("default-case", path, n, "a machine's switch names every state")

    def check(self):
        private = {}
        for path in self.files():
            with open(os.path.join(self.root, path), encoding="utf-8") as f:
                lines = f.read().split("\n")
            if lines and lines[-1] == "":
                lines.pop()
            if path.endswith("_priv.h"):
                private.setdefault(os.path.dirname(path), []).append(path)
            self.includes(path, lines)
            self.functions(path, lines)
            self.sizes(path, lines)
            self.words(path, lines)
        for paths in private.values():
            for path in paths[1:]:
                self.fault("include", path, 1, "one private header a folder")
        for rule, what in self.allow:
            if (rule, what) not in self.used:
                self.faults.append(f"tests/lint/allow: '{rule} {what}' is of no use"
                                   " (or has no reason)")
        return self.faults


def main():
    faults = Lint(sys.argv[1] if len(sys.argv) > 1 else ".").check()
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
