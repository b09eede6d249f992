"""What others could change is refused by name: programs, plugins, configuration, keys, folders."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from harness import BIN, PLUGINS, Daemon, need_root, run
from reexec_test import Installed

GOOD, CONFIGURATION = 0, 78
ALICE, BOB = 12345, 12346


def give(path, uid=ALICE):
    os.chown(path, uid, uid, follow_symlinks=False)


class TrustTest(unittest.TestCase):
    """Each case spoils one thing of a configuration that is good."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lastcall-trust-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.etc, self.lib, self.bin = (self.make(name) for name in ("etc", "lib", "bin"))
        self.drop_ins = self.make("etc/lastcalld.d")
        self.plugin = pathlib.Path(shutil.copy(PLUGINS / "echo.so", self.lib))
        self.config = self.etc / "lastcalld.toml"
        self.drop_in = self.drop_ins / "50-more.toml"
        self.write()

    def make(self, name):
        (self.folder / name).mkdir()
        return self.folder / name

    def write(self, tls=""):
        self.config.write_text(f"""
plugin_dir = "{self.lib}"
state_dir = "{self.folder}/state"
[admin]
socket = "{self.folder}/admin.sock"
[server.public]
listen = ["127.0.0.1:0"]
plugins = ["echo"]
{tls}""")
        self.drop_in.write_text('[shutdown]\ngrace = "1s"\n')

    def check(self, program=BIN / "lastcalld", **kwargs):
        return run(program, "--config", self.config, "--check", **kwargs)

    def assert_good(self, **kwargs):
        done = self.check(**kwargs)
        self.assertEqual((done.returncode, done.stderr), (GOOD, ""))

    def assert_refused(self, place, path, why, remedy, program=BIN / "lastcalld", **kwargs):
        """--check and a start say the same, in one line: the place, what is wrong, the remedy."""
        for args in (("--check",), ()):
            done = run(program, "--config", self.config, *args, **kwargs)
            self.assertEqual(done.returncode, CONFIGURATION, done.stderr)
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
            for text in (f"{place}: ", "is not trusted: ", f"{path} {why}",
                         f'run "{remedy} {path}"'):
                self.assertIn(text, done.stderr)
        self.assertFalse((self.folder / "admin.sock").exists())

    def spoil(self, place, path):
        """Every way in which others may change it, and back."""
        mode = path.stat().st_mode & 0o7777
        for bits, who in ((0o020, "the group "), (0o002, "everybody"), (0o022, "everybody")):
            with self.subTest(path=str(path), bits=oct(bits)):
                path.chmod(mode | bits)
                self.assert_refused(place, path, f"may be written by {who}", "chmod go-w")
                path.chmod(mode)
        if os.getuid() == 0:
            with self.subTest(path=str(path), owner=ALICE):
                give(path)
                self.assert_refused(place, path, f"belongs to uid {ALICE}", "chown root")
                os.chown(path, 0, 0)
                # Executables lose their bits when they change hands.
                path.chmod(mode)
        self.assert_good()

    def test_good(self):
        self.assert_good()
        self.config.chmod(0o400)
        self.plugin.chmod(0o500)
        self.assert_good()

    def test_configuration(self):
        self.spoil(self.config, self.config)
        self.spoil(self.drop_in, self.drop_in)

    def test_folders_of_the_configuration(self):
        self.spoil(self.drop_ins, self.drop_ins)
        # For the file, and once more for the drop-ins beside it.
        self.etc.chmod(0o777)
        done = self.check()
        self.assertEqual(done.returncode, CONFIGURATION)
        said = (f'{self.etc} may be written by everybody (mode 0777): run '
                f'"chmod go-w {self.etc}"')
        self.assertEqual(done.stderr.count(said), len(done.stderr.splitlines()))

    def test_plugin(self):
        place = f'{self.config}:8: server "public", plugin "echo"'
        self.spoil(place, self.plugin)
        self.spoil(place, self.lib)

    def test_libraries_of_a_plugin(self):
        needy = PLUGINS.parent / "tests" / "plugins" / "needy.so"
        library = self.make("libraries") / "libwrong_protos.so"
        shutil.copy(needy.with_name(library.name), library)
        self.config.write_text(self.config.read_text().replace('["echo"]', f'["{needy}"]'))
        env = {**os.environ, "LD_LIBRARY_PATH": str(library.parent)}
        self.assert_good(env=env)
        for path, mode in ((library, 0o666), (library.parent, 0o777)):
            good = path.stat().st_mode & 0o7777
            path.chmod(mode)
            for args in (("--check",), ()):
                with self.subTest(path=str(path), args=args):
                    done = run(BIN / "lastcalld", "--config", self.config, *args, env=env)
                    self.assertEqual(done.returncode, CONFIGURATION, done.stderr)
                    for said in (f"{needy} needs libraries that are not trusted: {path} may be ",
                                 f"by everybody (mode {mode:04o})", f'run "chmod go-w {path}"'):
                        self.assertIn(said, done.stderr)
            path.chmod(good)
        self.assert_good(env=env)

    def test_programs(self):
        for name in ("lastcalld", "lastcall-host"):
            shutil.copy(BIN / name, self.bin)
        program = self.bin / "lastcalld"
        self.assert_good(program=program)
        for name in ("lastcalld", "lastcall-host"):
            with self.subTest(name):
                (self.bin / name).chmod(0o775)
                self.assert_refused(name, self.bin / name, "may be written by the group ",
                                    "chmod go-w", program=program)
                (self.bin / name).chmod(0o755)
        self.bin.chmod(0o777)  # said once, though both are in it
        self.assert_refused("lastcalld", self.bin, "may be written by everybody", "chmod go-w",
                            program=program)

    def test_keys(self):
        keys = self.make("keys")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-subj", "/CN=x", "-days", "10", "-keyout", keys / "key",
             "-out", keys / "certificate"], check=True, capture_output=True)
        shutil.copy(keys / "certificate", keys / "ca")
        self.write(f"""
[server.public.tls]
certificate = "{keys}/certificate"
key = "{keys}/key"
client_ca = "{keys}/ca"
""")
        self.assert_good()
        for name in ("certificate", "key", "ca"):
            self.spoil(f'{self.config}:10: server "public", tls', keys / name)
        self.spoil(f'{self.config}:10: server "public", tls', keys)

    def test_links(self):
        need_root()
        real = self.plugin.rename(self.folder / "real.so")
        self.plugin.symlink_to(real)
        self.assert_good()
        place = f'{self.config}:8: server "public", plugin "echo"'
        give(self.plugin)  # the link
        self.assert_refused(place, self.plugin, f"is a link that belongs to uid {ALICE}",
                            "chown -h root")
        self.plugin.unlink()
        # What is behind a link is looked at, with every folder on that way, links among them.
        theirs = self.make("theirs")
        shutil.copy(real, theirs / "echo.so")
        (self.folder / "by").symlink_to("theirs")
        self.plugin.symlink_to("../by/../by/echo.so")
        self.assert_good()
        theirs.chmod(0o777)
        self.assert_refused(place, theirs, "may be written by everybody", "chmod go-w")
        theirs.chmod(0o755)
        give(theirs)
        self.assert_refused(place, theirs, f"belongs to uid {ALICE}", "chown root")

    def test_sticky_folders(self):
        need_root()
        place = f'{self.config}:8: server "public", plugin "echo"'
        self.lib.chmod(0o1777)
        # Of root's, as /tmp: nobody can replace what is root's in it.
        self.assert_good()
        self.drop_ins.chmod(0o1777)  # but anybody could add a drop-in
        self.assert_refused(self.drop_ins, self.drop_ins, "may be written by everybody (mode 1777)",
                            "chmod go-w")
        self.drop_ins.chmod(0o755)
        give(self.plugin)
        self.assert_refused(place, self.plugin, f"belongs to uid {ALICE}", "chown root")

    def test_the_daemons_own_user(self):
        need_root()
        them = {"user": ALICE, "group": ALICE, "extra_groups": []}
        for path in (self.folder, *self.folder.rglob("*")):
            give(path)
        self.assert_good(**them)
        # Root's own are as good, those of a third are not.
        os.chown(self.plugin, 0, 0)
        self.assert_good(**them)
        give(self.lib, BOB)
        self.assert_refused(f'{self.config}:8: server "public", plugin "echo"', self.lib,
                            f"belongs to uid {BOB}", f"chown {ALICE}", **them)

    def test_without_a_configuration(self):
        self.lib.chmod(0o777)
        env = {**os.environ, "XDG_RUNTIME_DIR": str(self.folder)}
        done = run(BIN / "lastcalld", "--plugin", self.plugin, env=env)
        self.assertEqual(done.returncode, CONFIGURATION, done.stderr)
        self.assertIn(f"{self.lib} may be written by everybody", done.stderr)

    def test_an_administrators_word(self):
        """LASTCALL_TRUST: where no one else can get, modes do not count."""
        place = f'{self.config}:8: server "public", plugin "echo"'
        self.plugin.chmod(0o666)
        self.lib.chmod(0o777)
        self.drop_ins.chmod(0o1777)
        done = self.check()
        self.assertIn(f"; or, where no one else can get there, set LASTCALL_TRUST={self.drop_ins}",
                      done.stderr)
        env = {**os.environ, "LASTCALL_TRUST": f"{self.etc}"}
        done = self.check(env=env)
        self.assertIn(f"set LASTCALL_TRUST={self.lib}:{self.plugin}\n", done.stderr)
        env["LASTCALL_TRUST"] += f":{self.lib}"
        self.assert_good(env=env)
        if os.getuid() == 0:
            give(self.lib)  # which always counts
            self.assert_refused(place, self.lib, f"belongs to uid {ALICE}", "chown root", env=env)
            os.chown(self.lib, 0, 0)
        env["LASTCALL_TRUST"] += ":lib"
        done = self.check(env=env)
        self.assertEqual((done.returncode, done.stderr), (
            CONFIGURATION, 'LASTCALL_TRUST in the environment: "lib" is not an absolute path; '
                           "write for example LASTCALL_TRUST=/etc/lastcall:/opt/shop\n"))

    def test_several_are_told_at_once(self):
        self.plugin.chmod(0o666)
        self.lib.chmod(0o775)
        done = self.check()
        self.assertEqual((done.returncode, done.stderr.count('run "chmod go-w ')), (78, 2))


class Volume:
    """A ConfigMap as a kubelet lays it out, all of it 0777, and what a container sees of it: a
    read-only mount. Its files are links through ..data, which is replaced to change them together.
    """

    def __init__(self, folder):
        self.writable, self.seen = folder / "volume", folder / "etc"
        for path in (self.writable, self.seen):
            path.mkdir(exist_ok=True)
            path.chmod(0o777)
        self.changes = 0

    def write(self, files):
        self.changes += 1
        content = self.writable / f"..{self.changes}"
        content.mkdir()
        for name, text in files.items():
            (content / name).write_text(text)
            (content / name).chmod(0o777)
            link = self.writable / name
            if not link.is_symlink():
                link.symlink_to(pathlib.Path("..data", name))
        content.chmod(0o777)
        fresh = self.writable / "..data_tmp"
        fresh.symlink_to(content.name)
        fresh.rename(self.writable / "..data")

    def within(self, *command, options="ro"):
        """The command, for which the volume is mounted; it keeps its pid."""
        script = 'mount --bind "$1" "$2" && mount -o "remount,bind,$3" "$2" && shift 3 && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", script, "sh", str(self.writable), str(self.seen),
                options, *map(str, command)]


class ReadOnlyTest(unittest.TestCase):
    def setUp(self):
        need_root()
        if run("unshare", "--mount", "true").returncode != 0:
            self.skipTest("nothing can be mounted here")
        self.daemon = Daemon(wait=False, reload={"settle": "0s"})
        self.addCleanup(shutil.rmtree, self.daemon.folder, ignore_errors=True)
        self.volume = Volume(self.daemon.folder)
        shutil.copy(PLUGINS / "echo.so", self.volume.writable)
        (self.volume.writable / "echo.so").chmod(0o777)
        self.text = self.daemon.config.read_text().replace(f'"{PLUGINS}"',
                                                           f'"{self.volume.seen}"')
        self.change("20s")
        self.config = self.volume.seen / "lastcalld.toml"

    def change(self, grace, **more):
        self.volume.write({"lastcalld.toml": self.text.replace("20s", grace), **more})

    def check(self, **kwargs):
        return run(*self.volume.within(BIN / "lastcalld", "--config", self.config, "--check",
                                       **kwargs))

    def start(self):
        command = self.volume.within(BIN / "lastcalld", "--config", self.config)
        self.daemon.program, self.daemon.args = command[0], command[1:]
        return self.daemon

    def test_modes_do_not_count(self):
        done = self.check()
        self.assertEqual((done.returncode, done.stderr), (GOOD, ""))
        with self.start() as daemon:
            daemon.ctl("--timeout", "30s", "wait", "serving", check=True)
            self.change("21s")
            daemon.ctl("reload", check=True)
            self.assertIn("21s", daemon.ctl("config", check=True).stdout)
            daemon.ctl("restart", "main", check=True)
            self.assertEqual(daemon.slow(0).text(), "slept")

    def test_drop_ins(self):
        drop_ins = self.volume.writable / "lastcalld.d"
        drop_ins.mkdir()
        drop_ins.chmod(0o777)
        (drop_ins / "50-more.toml").write_text('[shutdown]\ngrace = "1m"\n')
        (drop_ins / "50-more.toml").chmod(0o777)
        done = self.check()
        self.assertEqual((done.returncode, done.stderr), (GOOD, ""))
        self.assertIn("1m5s", done.stdout)

    def test_writable_is_refused(self):
        done = self.check(options="rw")
        self.assertEqual(done.returncode, CONFIGURATION)
        self.assertIn(f"{self.volume.seen} may be written by everybody (mode 0777)", done.stderr)

    def test_owners_count(self):
        give(self.volume.writable / "echo.so")
        done = self.check()
        self.assertEqual(done.returncode, CONFIGURATION)
        plugin = self.volume.seen / "echo.so"
        self.assertIn(f'{plugin} belongs to uid {ALICE}: run "chown root {plugin}" where it is '
                      "mounted from, for here it is read-only", done.stderr)

    def test_keys_that_others_may_read(self):
        """The command that ends it cannot be run here, either."""
        self.daemon.folder.chmod(0o755)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-subj", "/CN=x", "-days", "10", "-keyout", self.volume.writable / "key",
             "-out", self.volume.writable / "certificate"], check=True, capture_output=True)
        key = self.volume.seen / "key"
        (self.volume.writable / "key").chmod(0o644)
        self.text += (f'[server.public.tls]\nkey = "{key}"\n'
                      f'certificate = "{self.volume.seen}/certificate"\n')
        self.change("20s")
        done = self.check()
        self.assertEqual(done.returncode, GOOD, done.stderr)
        self.assertIn(f'run "chmod o-r {key}" where it is mounted from, for here it is read-only',
                      done.stderr)


class ReloadTest(unittest.TestCase):
    def refuse(self, daemon, path, mode):
        good = path.stat().st_mode & 0o7777
        path.chmod(mode)
        done = daemon.ctl("reload")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(f'run "chmod go-w {path}"', done.stderr)
        self.assertIn("reload refused, nothing has changed: ", daemon.log())
        self.assertEqual((daemon.current_stage(), daemon.process_status().incarnation),
                         ("serving", 1))
        path.chmod(good)

    def test_reload(self):
        prepared = Daemon(reload={"settle": "0s"}, wait=False)
        lib = prepared.folder / "lib"
        lib.mkdir()
        plugin = pathlib.Path(shutil.copy(PLUGINS / "echo.so", lib))
        text = prepared.config.read_text()
        prepared.config.write_text(text.replace(f'"{PLUGINS}"', f'"{lib}"'))
        with prepared as daemon:
            daemon.ctl("--timeout", "30s", "wait", "serving", check=True)
            self.refuse(daemon, daemon.config, 0o664)
            self.refuse(daemon, plugin, 0o666)
            self.refuse(daemon, lib, 0o777)
            daemon.ctl("reload", check=True)

    def test_an_administrators_word(self):
        """It reaches hosts and the next build, which judge for themselves."""
        with Installed(env={"LASTCALL_TRUST": "/"}) as daemon:
            daemon.bin.chmod(0o777)
            daemon.upgrade()
            daemon.ctl("reload", check=True)
            self.assertEqual(daemon.builds_taken(), 1)
            daemon.ctl("restart", "main", check=True)
            daemon.upgrade()
            daemon.ctl("reload", check=True)
            self.assertEqual(daemon.builds_taken(), 2)

    def test_another_build(self):
        """A lastcalld that others could have put there is not executed, not even to be checked."""
        with Installed() as daemon:
            daemon.upgrade()
            self.refuse(daemon, daemon.program, 0o775)
            self.refuse(daemon, daemon.bin, 0o777)
            if os.getuid() == 0:
                give(daemon.program)
                done = daemon.ctl("reload")
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(f"{daemon.program} belongs to uid {ALICE}", done.stderr)
                os.chown(daemon.program, 0, 0)
            self.assertNotIn("new binary found", daemon.log())
            daemon.ctl("reload", check=True)
            self.assertEqual(daemon.builds_taken(), 1)

    def test_who_loads_it_looks_again(self):
        prepared = Daemon(wait=False)
        lib = prepared.folder / "lib"
        lib.mkdir()
        shutil.copy(PLUGINS / "echo.so", lib)
        text = prepared.config.read_text()
        prepared.config.write_text(text.replace(f'"{PLUGINS}"', f'"{lib}"'))
        with prepared as daemon:
            daemon.ctl("--timeout", "30s", "wait", "serving", check=True)
            # Since the daemon looked.
            lib.chmod(0o777)
            done = daemon.ctl("restart", "main")
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn(f'{lib} may be written by everybody (mode 0777): run "chmod go-w {lib}"',
                          done.stderr + done.stdout)
            self.assertEqual(daemon.process_status().incarnation, 1)
            self.assertEqual(daemon.slow(0).text(), "slept")


if __name__ == "__main__":
    unittest.main()
