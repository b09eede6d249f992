"""Dependencies point one way: reads every include and fails on an edge that rooms.txt does not have."""

import pathlib
import re
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROOMS = ROOT / "tests/includes/rooms.txt"
PROGRAMS = {"host": "lastcall-host"}  # directories that a room of the library is called like
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^">]+)[">]', re.MULTILINE)


def read_rooms(text):
    """By room: what it may include."""
    rooms = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            room, may = line.split(":")
            rooms[room] = set(may.replace("|", " ").split())
    return rooms


def room_of(path):
    """Of a source, by its path below the root."""
    parts = path.parts
    if parts[:2] == ("lib", "lastcall"):
        return parts[2] if len(parts) > 3 else "plugin"  # <lastcall/plugin.h>
    return room_at(parts)


def room_at(parts):
    """Of a file of a program, whose directories are rooms of their own in lastcalld alone."""
    if parts[0] == "daemon" and len(parts) > 2:
        return "/".join(parts[:2])
    return PROGRAMS.get(parts[0], parts[0])


def target_of(include, rooms):
    """The room that an include leads to; None: none of ours, nor of those that are counted."""
    parts = include.split("/")
    if parts[0] == "lastcall":
        if include.endswith(".pb.h"):
            return "proto"
        if len(parts) > 1 and parts[1] in rooms:
            return parts[1]
        return "plugin" if include == "lastcall/plugin.h" else "proto"
    if parts[0] in ("daemon", "host", "wire", "ctl", "python"):
        return room_at(parts)
    if include.startswith("grpc/health/"):
        return "proto"
    if parts[0] in ("grpc", "grpcpp"):
        return "grpc"
    return "boost" if include.startswith("boost/asio") else None


def edges(root, rooms):
    """(file, include, from, to) of every include that leaves its room."""
    for top in ("lib/lastcall", "daemon", "host", "wire", "ctl", "python"):
        for path in sorted((root / top).rglob("*")):
            if path.suffix not in (".h", ".cc"):
                continue
            below = path.relative_to(root)
            for include in INCLUDE.findall(path.read_text(encoding="utf-8")):
                target = target_of(include, rooms)
                if target and target != room_of(below):
                    yield str(below), include, room_of(below), target


class IncludesTest(unittest.TestCase):
    def setUp(self):
        self.rooms = read_rooms(ROOMS.read_text(encoding="utf-8"))

    def test_no_include_runs_upwards(self):
        wrong = [f"{path} includes {include}: {room} may not see {target}"
                 for path, include, room, target in edges(ROOT, self.rooms)
                 if target not in self.rooms.get(room, ())]
        self.assertEqual(wrong, [])

    def test_what_is_allowed_is_needed(self):
        used = {(room, target) for _, _, room, target in edges(ROOT, self.rooms)}
        allowed = {(room, target) for room, may in self.rooms.items() for target in may}
        self.assertEqual(allowed - used, set())

    def test_there_is_no_way_round(self):
        below, rooms = set(), {room: may & set(self.rooms) for room, may in self.rooms.items()}
        for _ in rooms:
            below |= {room for room, may in rooms.items() if may <= below}
        self.assertEqual(set(rooms) - below, set(), "rooms that include each other")

    def test_a_forbidden_include_is_found(self):
        self.assertEqual(target_of("lastcall/host/host.h", self.rooms), "host")
        self.assertEqual(target_of("daemon/daemon.h", self.rooms), "daemon")
        self.assertEqual(target_of("grpcpp/grpcpp.h", self.rooms), "grpc")
        self.assertEqual(target_of("lastcall/admin/v1/admin.pb.h", self.rooms), "proto")
        self.assertIsNone(target_of("vector", self.rooms))
        self.assertNotIn("rpc", self.rooms["base"])


if __name__ == "__main__":
    sys.exit(unittest.main())
