"""What is installed of liblastcall's headers is chosen: it is what docs/architecture.md lists, and
none of them includes any other of ours. With a folder: also what is installed there.

    public_headers_test.py [PREFIX/include]
"""

import pathlib
import re
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "lib/lastcall"
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"](lastcall/[^">]+)[">]', re.MULTILINE)


def listed(keyword, text=(LIBRARY / "CMakeLists.txt").read_text(encoding="utf-8")):
    """Those behind the keyword of lastcall_library() and lastcall_headers(), in all of them."""
    lists = re.findall(rf"\b{keyword}((?:\s+[\w/]+\.h)+)", text)
    return [f"lastcall/{header}" for headers in lists for header in headers.split()]


def documented():
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"^## Public headers\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    return re.findall(r"`<(lastcall/[\w/]+\.h)>`", section)


def not_installed(header, text, installed):
    return [f"{header} includes {include}"
            for include in INCLUDE.findall(text) if include not in installed]


class PublicHeadersTest(unittest.TestCase):
    maxDiff = None
    folder = None

    def test_what_is_installed_is_what_the_page_lists(self):
        self.assertEqual(sorted(listed("HEADERS")), sorted(documented()))

    def test_an_installed_header_includes_installed_ones_alone(self):
        for header in listed("HEADERS"):
            text = (LIBRARY.parent / header).read_text(encoding="utf-8")
            with self.subTest(header):
                self.assertEqual(not_installed(header, text, listed("HEADERS")), [])

    def test_every_header_is_one_or_the_other(self):
        there = [str(path.relative_to(LIBRARY.parent)) for path in LIBRARY.rglob("*.h")]
        self.assertEqual(sorted(listed("HEADERS") + listed("PRIVATE_HEADERS")), sorted(there))

    def test_what_others_see_of_us_is_installed(self):
        for folder in ("examples", "tests/install/consumer", "docs"):
            for path in sorted((ROOT / folder).rglob("*")):
                if path.suffix in (".cc", ".h", ".md"):
                    text = path.read_text(encoding="utf-8")
                    self.assertEqual(not_installed(path.name, text, listed("HEADERS")), [])

    def test_an_include_of_what_is_not_installed_is_found(self):
        text = "#pragma once\n#include <lastcall/base/a.h>\n# include \"lastcall/base/b.h\"\n"
        self.assertEqual(not_installed("x.h", text, ["lastcall/base/a.h"]),
                         ["x.h includes lastcall/base/b.h"])
        self.assertEqual(listed("HEADERS", "f(HEADERS a.h b/c.h\n  PRIVATE_HEADERS d.h)"),
                         ["lastcall/a.h", "lastcall/b/c.h"])

    def test_the_folder_has_these_and_no_others(self):
        if self.folder is None:
            self.skipTest("no folder was given")
        there = [str(path.relative_to(self.folder))
                 for path in self.folder.rglob("*") if path.is_file()]
        self.assertEqual(sorted(there), sorted(documented()))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        PublicHeadersTest.folder = pathlib.Path(sys.argv.pop())
    sys.exit(unittest.main())
