#!/usr/bin/env python3
"""Each rule of lint.py finds what it is for, in a small tree of its own."""
import os
import shutil
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True
import lint  # noqa: E402

HEAD = "/* A file. */\n"


class Rules(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.root)
        for table in ("floors", "owners"):
            with open(os.path.join(HERE, table), encoding="utf-8") as f:
                self.write(f"tests/lint/{table}", f.read())
        self.write("tests/lint/allow", "")

    def write(self, path, text):
        path = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)

    def faults(self, path, text):
        self.write(path, text)
        return lint.Lint(self.root).check()

    def one(self, rule, path, text):
        found = self.faults(path, text)
        self.assertEqual(len(found), 1, found)
        self.assertIn(f"[{rule}]", found[0])

    def test_clean_file_has_no_fault(self):
        self.assertEqual(self.faults("common/txn/a.c", HEAD + '#include "common/sip/msg.h"\n'
                                     "#include <errno.h>\nint f(void)\n{\n\treturn 0;\n}\n"), [])

    def test_upward_include_is_found(self):
        self.one("include", "common/sip/a.c", HEAD + '#include "common/txn/txn.h"\n')

    def test_sideways_include_between_roles_is_found(self):
        self.one("include", "edge/a.c", HEAD + '#include "home/registrar/registrar.h"\n')

    def test_unknown_folder_is_found(self):
        self.one("include", "common/new/a.c", HEAD + '#include "common/base/span.h"\n')

    def test_short_path_is_found(self):
        self.one("include", "common/txn/a.c", HEAD + '#include "txn.h"\n')

    def test_private_header_of_another_folder_is_found(self):
        self.one("include", "common/txn/a.c", HEAD + '#include "common/sip/sip_priv.h"\n')

    def test_third_party_header_outside_its_owner_is_found(self):
        self.one("third-party", "common/txn/a.c", HEAD + "#include <openssl/evp.h>\n")
        self.one("third-party", "common/txn/a.c", HEAD + "#include <foo/bar.h>\n")

    def test_long_function_is_found_and_may_be_allowed(self):
        body = HEAD + "static int long_one(int a,\n\t\t    int b)\n{\n" + "\ta();\n" * 79 + "}\n"
        self.one("function-size", "edge/a.c", body)
        self.write("tests/lint/allow", "function-size edge/a.c:long_one it is a table\n")
        self.assertEqual(self.faults("edge/a.c", body), [])

    def test_long_files_and_lines_are_found(self):
        self.one("file-size", "edge/a.c", HEAD + "\n" * 600)
        self.faults("edge/a.c", HEAD + "\n" * 599)
        self.one("file-size", "edge/a.h", HEAD + "\n" * 250)
        self.faults("edge/a.h", HEAD + "\n" * 249)
        self.one("line-length", "edge/a.c", HEAD + "\t" + "x" * 89 + "\n")

    def test_words_typedefs_and_heads_are_found(self):
        self.one("word", "edge/a.c", HEAD + "/* TO" "DO: later */\n")
        self.one("typedef", "edge/a.c", HEAD + "typedef struct a a_t;\n")
        self.one("head", "edge/a.c", "int a;\n")

    def test_default_in_a_machine_is_found(self):
        switch = "\tswitch (%s) {\n\tcase 0:\n\t\tg();\n\tdefault:\n\t\th();\n\t}\n"
        self.one("default-case", "common/txn/a.c", HEAD + switch % "t->state")
        self.assertEqual(self.faults("common/txn/a.c", HEAD + switch % "f(x)"), [])
        self.assertEqual(self.faults("edge/a.c", HEAD + switch % "t->state"), [])

    def test_useless_exception_is_found(self):
        self.write("tests/lint/allow", "file-size edge/gone.c no more\n")
        self.assertEqual(len(self.faults("edge/a.c", HEAD)), 1)


if __name__ == "__main__":
    unittest.main()
