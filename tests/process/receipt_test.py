"""The receipt where it cannot be kept: named in the log, which has it, and nothing else is lost."""

import json
import os
import shlex
import unittest

from harness import BIN, Daemon, need_root, run


class ReceiptTest(unittest.TestCase):
    def mounted(self, *commands):
        """A daemon that sees a state_dir of its own: `commands` of a shell prepare it, in a mount
        namespace that ends with the daemon."""
        need_root()
        if run("unshare", "-m", "true").returncode != 0:
            self.skipTest("mount namespaces cannot be had here")
        daemon = Daemon()
        (daemon.folder / "state").mkdir()
        program = daemon.folder / "prepared"
        program.write_text("#!/bin/sh\nexec unshare -m --propagation private sh -ec " + shlex.quote(
            f"cd {shlex.quote(str(daemon.folder))}\n" + "\n".join(commands) +
            f'\nexec {shlex.quote(str(BIN / "lastcalld"))} "$@"') + ' sh "$@"\n')
        program.chmod(0o755)
        daemon.program = program
        return daemon

    def check(self, daemon, why, *entries, reason=""):
        """It stops as ever; the log has the receipt; the folder is as it was."""
        state = daemon.folder / "state"
        folder = os.open(f"/proc/{daemon.pid}/root{state}", os.O_RDONLY)
        self.addCleanup(os.close, folder)
        told = daemon.json("shutdown", "--reason", reason)
        self.assertEqual(daemon.wait(), 0, daemon.log())
        self.assertIn(f"cannot keep the receipt in {state}/receipt.json: {why}", daemon.log())
        logged = daemon.log().split("lastcalld: receipt: ")[1].splitlines()[0]
        self.assertEqual(json.loads(logged), told)
        self.assertCountEqual(os.listdir(folder), entries)
        with open(os.open("receipt.json", os.O_RDONLY, dir_fd=folder)) as kept:
            self.assertEqual(kept.read(), "old\n")

    def test_full(self):
        with self.mounted("mount -t tmpfs -o size=8k none state", "echo old > state/receipt.json",
                          "head -c 4096 /dev/zero > state/filler") as daemon:
            self.assertNotIn("cannot keep the receipt", daemon.log())
            self.check(daemon, "No space left on device; make room on its file system",
                       "receipt.json", "filler")

    def test_room_for_a_part_of_it(self):
        with self.mounted("mount -t tmpfs -o size=8k none state",
                          "echo old > state/receipt.json") as daemon:
            self.check(daemon, "No space left on device", "receipt.json", reason="x" * 9000)

    def test_read_only(self):
        with self.mounted("mount -t tmpfs none state", "echo old > state/receipt.json",
                          "mount -o remount,ro none state") as daemon:
            # Known before it matters.
            self.assertIn("receipt.json: Read-only file system; mount it for writing", daemon.log())
            self.check(daemon, "Read-only file system; mount it for writing, or choose another",
                       "receipt.json")

    def test_not_a_folder(self):
        prepared = Daemon()
        (prepared.folder / "state").write_text("precious")
        with prepared as daemon:
            self.assertIn("receipt.json: Not a directory; a file is in the place of a directory",
                          daemon.log())
            daemon.ctl("shutdown", check=True)
            self.assertEqual(daemon.wait(), 0)
            self.assertEqual((daemon.folder / "state").read_text(), "precious")

    def test_a_link_is_not_followed(self):
        prepared = Daemon()
        state = prepared.folder / "state"
        state.mkdir()
        precious = prepared.folder / "precious"
        precious.write_text("precious")
        (state / "receipt.json.new").symlink_to(precious)
        with prepared as daemon:
            told = daemon.json("shutdown")
            self.assertEqual(daemon.wait(), 0)
            self.assertEqual(daemon.receipt(), told)
            self.assertEqual(precious.read_text(), "precious")
            self.assertEqual([path.name for path in state.iterdir()], ["receipt.json"])

    def test_where_it_can_be_kept_nothing_is_said(self):
        with Daemon() as daemon:
            daemon.ctl("shutdown", check=True)
            self.assertEqual(daemon.wait(), 0)
            self.assertNotIn("cannot keep", daemon.log())
            self.assertEqual(daemon.receipt()["exit_code"], 0)


if __name__ == "__main__":
    unittest.main()
