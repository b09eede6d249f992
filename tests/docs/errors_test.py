"""docs/errors.md and the code agree: every message of the page is in strings of the code, and every
exit code that a program ends with stands in the page, with the number that exit_code.h gives it."""

import os
import pathlib
import re
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CODE = ("daemon", "host", "wire", "lib", "ctl", "python")

CPP = (r'R"(?P<tag>[^(\s]*)\((?P<raw>.*?)\)(?P=tag)"|"(?P<text>(?:[^"\\\n]|\\.)*)"'
       r"|(?<!\w)'(?P<char>(?:[^'\\\n]|\\.)+)'|(?P<comment>//[^\n]*|/\*.*?\*/)")
PYTHON = r'(?P<quote>"""|"|\')(?P<text>(?:[^\\]|\\.)*?)(?P=quote)|(?P<comment>#[^\n]*)'
TOKENS = {suffix: re.compile(strings + r"|(?P<space>\s+)|(?P<f>\bf(?=[\"']))|.", re.DOTALL)
          for suffix, strings in ((".cc", CPP), (".h", CPP), (".py", PYTHON))}

# What stands for a value in strings: %s of printf, {name} of Python.
FORMATTED = re.compile(r"%[-.*0-9l]*[sduz]+|\{[\w.!]+\}")
# And in the page, where a number or a path is one that the code has a name for.
VALUE = re.compile(r"(?:SIG)?…|\b(?:PLACE(?::COLUMN)?|FILE:LINE|NAME|PATH|PROCESS|pid N|1000)\b|/proc\b")
# Where what one function says meets what another does.
SEAM = re.compile(r'[:;](?= |$)|"')
# What libraries say; of CLI11, which has texts in its headers.
OTHERS = {os.strerror(number) for number in range(1, 134)} | {"is required"}


def parts_of(text, pattern):
    """What is between the matches, where it has words."""
    parts = (re.sub(r"\s+", " ", part) for part in pattern.split(text))
    return [part for part in parts if re.search(r"\w", part)]


def strings_of(source, suffix):
    """Those that stand side by side are one; where a value goes, another begins."""
    joined = []
    for match in TOKENS[suffix].finditer(source):
        found = match.groupdict()
        texts = [found.get(kind) for kind in ("raw", "text", "char") if found.get(kind) is not None]
        if texts:
            joined.append(texts[0] if found.get("raw") else re.sub(r"\\(.)", unescaped, texts[0]))
        elif not (found["space"] or found["comment"] or found["f"]):
            yield from parts_of("".join(joined), FORMATTED)
            joined = []
    yield from parts_of("".join(joined), FORMATTED)


def unescaped(match):
    return match[1] if match[1] in "\"'\\" else " "


def sources(*tops, suffixes=tuple(TOKENS)):
    for top in tops:
        for path in sorted((ROOT / top).rglob("*")):
            if path.suffix in suffixes:
                yield path, path.read_text(encoding="utf-8")


class Strings:
    """What messages are made of, in some of the code."""

    def __init__(self, strings, least=1):
        self.whole = set(strings)
        self.text = "\n".join(sorted(self.whole))
        cut = [(string, at) for string in self.whole for at in self.seams(string)]
        # `least`: words that are enough, of one that ends or begins within a fragment.
        def enough(parts):
            return self.whole | {part for part in parts if len(part.split()) >= least}
        self.beginnings = enough(string[:at] for string, at in cut)
        self.ends = enough(string[at:] for string, at in cut)

    @staticmethod
    def seams(text):
        """Where no word is cut."""
        return [match.start() for match in re.finditer(r"(?<=\S)(?=\W)|(?<=\W)(?=\w)", text)]

    def contain(self, fragment):
        return re.search(rf"(?<!\w){re.escape(fragment)}(?!\w)", self.text) is not None

    def compose(self, fragment):
        """By the end of one, whole ones and the beginning of another."""
        seams = self.seams(fragment)
        reached = {at for at in seams if fragment[:at] in self.ends}
        for at in seams:
            if at in reached:
                if fragment[at:] in self.beginnings:
                    return True
                reached |= {end for end in seams if end > at and fragment[at:end] in self.whole}
        return False


class Code:
    """By file; strings of different files meet where one calls the other, by two words at least."""

    def __init__(self, files):
        self.files = [Strings(strings) for strings in files]
        self.all = Strings((string for file in self.files for string in file.whole), least=2)

    def has(self, fragment):
        return (self.all.contain(fragment) or any(file.compose(fragment) for file in self.files)
                or self.all.compose(fragment) or fragment in OTHERS)


class Page:
    def __init__(self, text):
        self.sections = {}  # by program: its lines
        for chapter in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
            title, _, body = chapter.partition("\n")
            self.sections[title] = body

    def rows(self, program):
        """As dicts by the table's header."""
        header = None
        for line in self.sections[program].splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not line.startswith("|"):
                header = None
            elif header is None:
                header = cells
            elif set(line) - set("|- "):
                yield dict(zip(header, cells, strict=True))

    def messages(self):
        for program in self.sections:
            for row in self.rows(program):
                yield from re.findall(r"`([^`]+)`", row["message"])


def fragments(message):
    """What is fixed in a message."""
    return [part.strip(" ,.()?='")
            for text in VALUE.split(message) for part in parts_of(text, SEAM)]


class MessagesTest(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.page = Page((ROOT / "docs/errors.md").read_text(encoding="utf-8"))
        cls.code = Code(strings_of(text, path.suffix) for path, text in sources(*CODE))

    def test_every_message_is_in_the_code(self):
        missing = [f"{fragment!r} of {message!r}" for message in self.page.messages()
                   for fragment in fragments(message) if not self.code.has(fragment)]
        self.assertEqual(missing, [])

    def test_every_message_has_words(self):
        for message in self.page.messages():
            with self.subTest(message):
                self.assertTrue(fragments(message))

    def test_another_word_is_found(self):
        code = Code([
            strings_of('Say("the file " + name + " is "\n  "gone; " + what);  // it is here', ".cc"),
            strings_of('Say("it has " + std::string(one ? "a key" : "two keys"));', ".cc"),
            strings_of("say(f'of {name}' % 'the server ' 'went')", ".py")])
        for text in ("the file", "is gone", "it has two keys", "of", "the server went"):
            self.assertTrue(code.has(text), text)
        for text in ("is lost", "the files", "it is here", "it has keys", "name", "the server is"):
            self.assertFalse(code.has(text), text)


class ExitCodesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.page = Page((ROOT / "docs/errors.md").read_text(encoding="utf-8"))
        header = (ROOT / "lib/lastcall/base/exit_code.h").read_text(encoding="utf-8")
        programs, ctl = header.split("enum ExitCode")
        cls.programs, cls.ctl = (
            {name: int(number) for name, number in re.findall(r"(kExit\w+) = (\d+)", text)}
            for text in (programs, ctl))

    @staticmethod
    def used(*tops):
        return {name for path, text in sources(*tops) if path.name != "exit_code.h"
                for name in re.findall(r"\bkExit\w+", text)}

    @staticmethod
    def listed(path):
        """By number, what it means, of the list of exit codes in a source or a page."""
        text = " ".join((ROOT / path).read_text(encoding="utf-8").split())
        (codes,) = re.findall(r"Exit codes: (.*?)\.", text)
        return {int(number): words.strip(" ,·)")
                for number, words in re.findall(r"(\d+) ([^\d·]+)", codes)}

    def test_what_a_program_ends_with_has_its_section(self):
        titles = re.findall(r"^### (.*)", self.page.sections["lastcalld"], re.MULTILINE)
        sections = {int(number) for title in titles for number in re.findall(r"(\d+): ", title)}
        used = self.used("daemon", "host", "lib") & set(self.programs)
        self.assertEqual({self.programs[name] for name in used}, sections)
        self.assertEqual(used, set(self.programs), "an exit code that nothing ends with")

    def test_what_lastcallctl_ends_with_has_its_rows(self):
        rows = {int(row["exit code"]) for row in self.page.rows("lastcallctl")}
        used = self.used("ctl") & set(self.ctl)
        self.assertEqual({self.ctl[name] for name in used} - {0}, rows)
        self.assertEqual(used, set(self.ctl), "an exit code that nothing ends with")

    def test_help_and_pages_have_the_same_list(self):
        for codes, source, page in ((self.programs, "daemon/options.cc", "docs/shutdown.md"),
                                    (self.ctl, "ctl/options.cc", "docs/operations.md")):
            with self.subTest(source):
                self.assertEqual(set(self.listed(source)), set(codes.values()))
                self.assertEqual(self.listed(source), self.listed(page))

    def test_a_unit_knows_which_ends_are_good_and_which_come_again(self):
        good = {self.programs["kExitCallsCancelled"], self.programs["kExitForced"]}
        final = {self.programs["kExitBadCommandLine"], self.programs["kExitBadConfiguration"]}
        for path in ("README.md", "systemd/lastcalld.service"):
            text = (ROOT / path).read_text(encoding="utf-8")
            for setting, codes in (("SuccessExitStatus", good),
                                   ("RestartPreventExitStatus", final)):
                for numbers in re.findall(rf"^{setting}=([\d ]+)", text, re.MULTILINE):
                    self.assertEqual({int(number) for number in numbers.split()}, codes, path)

    def test_the_readme_names_codes_that_there_are(self):
        text = (ROOT / "README.md").read_text(encoding="utf-8")
        named = {int(number) for number in re.findall(r"exit code (?:is )?(\d+)", text)}
        self.assertTrue(named)
        self.assertLessEqual(named, {*self.programs.values(), *self.ctl.values()})

    def test_no_program_ends_with_a_number_that_has_no_name(self):
        bare = [f"{path.relative_to(ROOT)}: {call}"
                for path, text in sources(*CODE, suffixes=(".cc",))
                for call in re.findall(r"\b_?exit\([1-9]\d*\)", re.sub(r"//.*", "", text))]
        self.assertEqual(bare, [])


if __name__ == "__main__":
    sys.exit(unittest.main())
