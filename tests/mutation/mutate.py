#!/usr/bin/env python3
"""Puts one-line faults into the code, one at a time, and tells which of them no test notices.

    tests/mutation/mutate.py --count 60 --seed 1            # into a copy of the tree, in the folder given by --work
    tests/mutation/mutate.py --only daemon/reload           # of these files alone
    tests/mutation/mutate.py --seed 1 --number 17           # one again, with what the tests say

The faults are those that a tired hand makes: a condition the other way round, a bound that is off by one, a
line that is missing, another constant, a `true` for a `false`. Which ones they are follows from the seed and
the code alone. Each is built; where it compiles, the unit tests of its directory run, and if those are content
the process tests that WATCHERS names. Not part of CI: it takes a minute or two for each fault.

One that nobody notices is either a gap, and wants a test, or changes nothing that can be seen (a log's level, a
size that is only a hint): those are listed in unnoticed.md, with the reason.
"""

import argparse
import os
import pathlib
import random
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
DIRECTORIES = ("daemon", "host", "wire", "ctl", "python")

# The unit programs that look at a directory, and the process tests that do where those are content.
WATCHERS = {
    "daemon/admin": (["daemon_test"], ["roles", "strangers", "admin_socket", "admin_limits", "watch"]),
    "daemon/config": (["config_test"], ["errors", "trust", "files"]),
    "daemon/handover": (["daemon_test"], ["reexec", "systemd"]),
    "daemon/process": (["daemon_test"], ["crash", "hostile", "reload", "reexec", "refused"]),
    "daemon/reload": (["daemon_test"], ["reload", "slow_files", "names", "reexec"]),
    "daemon/setup": (["daemon_test", "config_test"], ["sockets", "reload", "names", "refused"]),
    "daemon": (["daemon_test", "config_test"],
               ["shutdown", "signals", "reload", "receipt", "clock", "orphans", "watch", "surroundings"]),
    "host": (["host_test"], ["shutdown", "crash", "leave", "trust", "hostile", "look"]),
    "wire": (["daemon_test", "host_test"], ["echo", "watch", "receipt", "reload", "log"]),
    "ctl": (["ctl_test"], ["ctl", "requests", "watch", "errors", "reexec"]),
    "python": ([], ["python_attach", "python_handlers", "python_lifecycle", "python_log",
                    "python_process", "python_server"]),
}

# What the process tests run.
PROGRAMS = ("lastcalld", "lastcall-host", "lastcallctl", "lastcall_python", "lastcall_python_sources")

# (what it is called, what it matches, what it becomes)
CPP_FAULTS = (
    ("condition the other way round", re.compile(r"^(\s*(?:\} else )?if \()((?:[^()]|\([^()]*\))+)(\) .*)$"),
     lambda m: f"{m[1]}!({m[2]}){m[3]}"),
    ("bound off by one", re.compile(r"^(.*[\w)\]] )(<=|>=|<|>)( [\w(].*)$"),
     lambda m: m[1] + {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}[m[2]] + m[3]),
    ("and for or", re.compile(r"^(.*) (&&|\|\|) (.*)$"),
     lambda m: f"{m[1]} {'||' if m[2] == '&&' else '&&'} {m[3]}"),
    ("equal for unequal", re.compile(r"^(.*) (==|!=) (.*)$"),
     lambda m: f"{m[1]} {'!=' if m[2] == '==' else '=='} {m[3]}"),
    ("true for false", re.compile(r"^(.*\b)(true|false)(\b.*)$"),
     lambda m: m[1] + ("false" if m[2] == "true" else "true") + m[3]),
    ("a line is missing", re.compile(r"^(\s+)([\w.>-]+(?:\(.*\)| = .*);)$"), lambda m: f"{m[1]};"),
    ("another number", re.compile(r"^(.*[ ({=])(\d+)([;),}].*)$"), lambda m: f"{m[1]}{int(m[2]) + 1}{m[3]}"),
)
PYTHON_FAULTS = (
    ("condition the other way round", re.compile(r"^(\s*(?:el)?if )(.+)(:)$"), lambda m: f"{m[1]}not ({m[2]}){m[3]}"),
    ("true for false", re.compile(r"^(.*\b)(True|False)(\b.*)$"),
     lambda m: m[1] + ("False" if m[2] == "True" else "True") + m[3]),
    ("a line is missing", re.compile(r"^(\s+)([\w.]+\(.*\))$"), lambda m: f"{m[1]}pass"),
    ("and for or", re.compile(r"^(.*) (and|or) (.*)$"), lambda m: f"{m[1]} {'or' if m[2] == 'and' else 'and'} {m[3]}"),
)
# Lines that say something to people, or to the compiler alone.
SKIPPED = re.compile(r"^\s*(//|#|\"|\*|static_assert|using |namespace |template|return;|break;|}|\"\"\")|log_?\(|Say\(|Reserve|reserve")


class Fault:
    """One line of one file, as it is to be."""

    def __init__(self, path, line, kind, before, after):
        self.path, self.line, self.kind, self.before, self.after = path, line, kind, before, after

    def __str__(self):
        shown = self.before if self.kind == "a line is missing" else self.after
        return f"{self.path}:{self.line}: {self.kind}: {shown.strip()}"

    def directory(self):
        """The longest of WATCHERS that it lies in."""
        return max((one for one in WATCHERS if f"{self.path}".startswith(one + "/")), key=len)


def faults_in(path):
    """Every fault that could be put into a file."""
    kinds = PYTHON_FAULTS if path.suffix == ".py" else CPP_FAULTS
    in_docstring = False
    for number, text in enumerate((ROOT / path).read_text(encoding="utf-8").splitlines(), 1):
        inside, in_docstring = in_docstring, in_docstring ^ (text.count('"""') % 2 == 1)
        if inside or SKIPPED.search(text):
            continue
        for kind, pattern, become in kinds:
            match = pattern.match(text)
            if match:
                yield Fault(path, number, kind, text, become(match))


def choose(count, seed, only):
    """So many, of as many files as there are: each file's turn comes before any has a second."""
    rng = random.Random(seed)
    files = [path.relative_to(ROOT) for top in DIRECTORIES for path in sorted((ROOT / top).rglob("*"))
             if path.suffix in (".cc", ".py") and path.is_file()]
    files = [path for path in files if path.name != "setup.py"]
    files = [path for path in files if not only or any(str(path).startswith(one) for one in only)]
    by_file = {path: list(faults_in(path)) for path in files}
    chosen = []
    while len(chosen) < count and any(by_file.values()):
        turn = [path for path in files if by_file[path]]
        rng.shuffle(turn)
        for path in turn[:count - len(chosen)]:
            chosen.append(by_file[path].pop(rng.randrange(len(by_file[path]))))
    return chosen


class Tree:
    """A copy of the tree, with a build of its own, in which the faults are made."""

    def __init__(self, work):
        self.root = work / "tree"
        if not self.root.exists():
            subprocess.check_call(["git", "worktree", "add", "--detach", str(self.root)], cwd=ROOT)
        subprocess.check_call(["git", "checkout", "--detach", "-f",
                               subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=ROOT, text=True).strip()],
                              cwd=self.root, stderr=subprocess.DEVNULL)
        self.build_dir = self.root / "build/release"
        self.run(["./dev", "build", "release"], 3600)

    def run(self, command, patience, cwd=None):
        """(exit code, output); None where it took too long."""
        try:
            done = subprocess.run(command, cwd=cwd or self.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, errors="replace", timeout=patience, check=False)
        except subprocess.TimeoutExpired as late:
            return None, str(late)
        return done.returncode, done.stdout

    def with_fault(self, fault, verbose):
        """"red: …", "unnoticed", or "does not compile"."""
        path = self.root / fault.path
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines(keepends=True)
        assert lines[fault.line - 1].rstrip("\n") == fault.before
        lines[fault.line - 1] = fault.after + "\n"
        path.write_text("".join(lines), encoding="utf-8")
        try:
            return self.judge(fault, verbose)
        finally:
            path.write_text(text, encoding="utf-8")

    def judge(self, fault, verbose):
        """Builds no more than the tests need that come next, and ends with the first that is red."""
        units, processes = WATCHERS[fault.directory()]
        for targets, tests in ((units, units), (PROGRAMS, [f"process_{one}_test" for one in processes])):
            if not tests:
                continue
            code, said = self.run(["ninja", "-C", str(self.build_dir), *targets], 1200)
            if code != 0:
                return "does not compile"
            code, said = self.run(["ctest", "--test-dir", str(self.build_dir), "-R", f"^({'|'.join(tests)})$", "-j3",
                                   "--stop-on-failure", "--timeout", "200", "--output-on-failure"], 600)
            if code != 0:
                if verbose:
                    print(said)
                return "red: " + ", ".join(re.findall(r"Test +#\d+: (\S+) .*(?:Failed|Timeout|Exception)", said)[:1])
        return "unnoticed"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=[], help="directories or files")
    parser.add_argument("--first", type=int, default=1, help="the first of them, where the others are known")
    parser.add_argument("--number", type=int, help="this one alone, and what the tests say")
    parser.add_argument("--list", action="store_true", help="only say which they are")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build/mutation")
    arguments = parser.parse_args()
    chosen = list(enumerate(choose(arguments.count, arguments.seed, arguments.only), 1))
    chosen = chosen[arguments.first - 1:]
    if arguments.number:
        chosen = [one for one in chosen if one[0] == arguments.number]
    if arguments.list:
        for number, fault in chosen:
            print(f"{number:3} {fault}")
        return 0
    os.environ.setdefault("CCACHE_SLOPPINESS", "pch_defines,time_macros")
    tree, counts = Tree(arguments.work), {}
    for number, fault in chosen:
        began = time.monotonic()
        verdict = tree.with_fault(fault, arguments.number is not None)
        counts[verdict.split(":")[0]] = counts.get(verdict.split(":")[0], 0) + 1
        print(f"{number:3} {verdict:40} {time.monotonic() - began:4.0f} s  {fault}", flush=True)
    red, unnoticed = counts.get("red", 0), counts.get("unnoticed", 0)
    print(f"{red} of {red + unnoticed} noticed; {counts.get('does not compile', 0)} do not compile")
    return 0


if __name__ == "__main__":
    sys.exit(main())
