// What a bad configuration is told: every message, word for word, with its place.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config_problems_fixture.h"

namespace lastcall {
namespace {

using testing::ElementsAre;

// One wrong thing at a time, in a configuration that is good without it.
struct Mistake {
  std::string name;
  std::string before;  // the server
  std::string after;   // it: keys of the server, or sections
  std::string message;
};

class MistakeTest : public ProblemsTest, public testing::WithParamInterface<Mistake> {};

TEST_P(MistakeTest, IsExplained) {
  const Mistake& mistake = GetParam();
  EXPECT_THAT(Problems(mistake.before + kServer + mistake.after), ElementsAre(mistake.message));
}

std::string NameOf(const testing::TestParamInfo<Mistake>& info) { return info.param.name; }

const Mistake kGeneral[] = {
    {"UnknownKey", "plugin_dri = \"x\"\n", "",
     "m.toml:1: unknown key plugin_dri; did you mean \"plugin_dir\"?"},
    {"UnknownKeyFarFromAll", "colour = 1\n", "",
     "m.toml:1: unknown key colour; known are admin, log, plugin_dir, process, reload, server, "
     "shutdown and state_dir"},
    {"UnknownSection", "", "[admn]\nsocket = \"/x\"\n",
     "m.toml:4: unknown key admn; did you mean \"admin\"?"},
    {"UnknownArrayOfTables", "", "[[logs]]\n", "m.toml:4: unknown key logs; did you mean \"log\"?"},
    {"SwappedLetters", "shutdown.dealy = \"1s\"\n", "",
     "m.toml:1: unknown key shutdown.dealy; did you mean \"delay\"?"},
    {"ControlCharacterInKey", "\"a\\nb\" = 1\n", "",
     "m.toml:1: unknown key \"a\\nb\"; known are admin, log, plugin_dir, process, reload, server, "
     "shutdown and state_dir"},
    {"NumberForText", "state_dir = 3\n", "",
     "m.toml:1: state_dir: expected a string, found an integer; write for example state_dir = "
     "\"…\""},
    {"EmptyText", "state_dir = \"\"\n", "",
     "m.toml:1: state_dir: must not be empty; remove the key to have its default"},
    {"ControlCharacterInText", "plugin_dir = \"a\\u0000b\"\n", "",
     "m.toml:1: plugin_dir: \"a\\x00b\" has a control character; remove it"},
    {"ValueForSection", "shutdown = \"5s\"\n", "",
     "m.toml:1: shutdown: expected a table, found a string; write it as a section of its own, "
     "[shutdown]"},
    {"ArrayForSection", "", "[[log]]\nlevel = \"info\"\n",
     "m.toml:4: log: expected a table, found an array; write it as a section of its own, [log]"},
    {"AdminSocketTooLong", "admin.socket = \"/" + std::string(107, 'x') + "\"\n", "",
     "m.toml:1: admin.socket: the path has 108 bytes, a socket's may have 107; choose a shorter "
     "one"},
    {"GroupsNotInArray", "admin.operators = \"wheel\"\n", "",
     "m.toml:1: admin.operators: expected an array of strings, found a string; write for example "
     "operators = [\"adm\"]"},
    {"GroupNoText", "admin.observers = [\"a\",\n1]\n", "",
     "m.toml:2: admin.observers: expected an array of strings, found an integer in it; write for "
     "example observers = [\"adm\"]"},
    {"GroupEmpty", "admin.observers = [\"\"]\n", "",
     "m.toml:1: admin.observers: \"\" is not a group; write its name, or remove it"},
    {"LogLevel", "log.level = \"warnings\"\n", "",
     "m.toml:1: log.level: \"warnings\" is unknown; write trace, debug, info, warning or error; "
     "did "
     "you mean \"warning\"?"},
    {"LogLevelFarFromAll", "log.level = \"verbose\"\n", "",
     "m.toml:1: log.level: \"verbose\" is unknown; write trace, debug, info, warning or error"},
};
INSTANTIATE_TEST_SUITE_P(General, MistakeTest, testing::ValuesIn(kGeneral), NameOf);

const Mistake kLengths[] = {
    {"NumberForDuration", "shutdown.delay = 5\n", "",
     "m.toml:1: shutdown.delay: expected a duration with a unit, in quotes, found an integer; "
     "write "
     "for example delay = \"5s\""},
    {"DurationWithoutUnit", "shutdown.grace = \"20\"\n", "",
     "m.toml:1: shutdown.grace: \"20\" is not a duration: the unit is missing; write for example "
     "\"250ms\", \"5s\" or \"1m30s\""},
    {"DurationWithUnknownUnit", "shutdown.cancel = \"5sec\"\n", "",
     "m.toml:1: shutdown.cancel: \"5sec\" is not a duration: \"sec\" is not one of ns us ms s m h "
     "d; "
     "write for example \"250ms\", \"5s\" or \"1m30s\""},
    {"NegativeDuration", "shutdown.cancel = \"-5s\"\n", "",
     "m.toml:1: shutdown.cancel: \"-5s\" is not a duration: it must not be negative; write for "
     "example \"250ms\", \"5s\" or \"1m30s\""},
    {"InfiniteDelay", "shutdown.delay = \"infinity\"\n", "",
     "m.toml:1: shutdown.delay: \"infinity\" is out of range; write a duration from 0s to 365d"},
    {"InfiniteCancel", "shutdown.cancel = \"infinity\"\n", "",
     "m.toml:1: shutdown.cancel: \"infinity\" is out of range; write a duration from 0s to 365d"},
    {"EndlessGrace", "shutdown.grace = \"400d\"\n", "",
     "m.toml:1: shutdown.grace: \"400d\" is out of range; write a duration from 0s to 365d, or "
     "\"infinity\""},
    {"MoreThanTimeHas", "shutdown.grace = \"999999d\"\n", "",
     "m.toml:1: shutdown.grace: \"999999d\" is out of range; write a duration from 0s to 365d, or "
     "\"infinity\""},
    {"QuietZero", "shutdown.quiet = \"0s\"\n", "",
     "m.toml:1: shutdown.quiet: \"0s\" is out of range; write a duration from 1ms to 365d"},
    {"ReadyZero", "reload.ready = \"0s\"\n", "",
     "m.toml:1: reload.ready: \"0s\" is out of range; write a duration from 1ms to 365d"},
    {"InfiniteSettle", "reload.settle = \"infinity\"\n", "",
     "m.toml:1: reload.settle: \"infinity\" is out of range; write a duration from 0s to 365d"},
    {"KeepNegative", "reload.keep = -1\n", "",
     "m.toml:1: reload.keep: -1 is out of range; write an integer from 1 to 100"},
    {"KeepNoInteger", "reload.keep = 1.5\n", "",
     "m.toml:1: reload.keep: expected an integer, found a number; write for example keep = 3"},
};
INSTANTIATE_TEST_SUITE_P(Lengths, MistakeTest, testing::ValuesIn(kLengths), NameOf);

const Mistake kServers[] = {
    {"UnknownKeyOfServer", "", "proces = \"x\"\n",
     "m.toml:4: unknown key server.a.proces; did you mean \"process\"?"},
    {"ReflectionNoBoolean", "", "reflection = \"on\"\n",
     "m.toml:4: server.a.reflection: expected true or false, found a string; write for example "
     "reflection = false"},
    {"ProcessName", "", "process = \"my process\"\n",
     "m.toml:4: server.a.process: \"my process\" cannot be a process's name: a name has letters, "
     "digits and _ . - only; rename it"},
    {"ServerName", "", "[server.\"b c\"]\nlisten = [\"127.0.0.1:2\"]\nplugins = [\"echo\"]\n",
     "m.toml:4: server.\"b c\": a name has letters, digits and _ . - only; rename the server"},
    {"ServerWithoutListen", "", "[server.b]\nplugins = [\"echo\"]\n",
     "m.toml:4: server.b.listen: the server has no address; write for example listen = "
     "[\"127.0.0.1:50051\"]"},
    {"ServerWithEmptyListen", "", "[server.b]\nplugins = [\"echo\"]\nlisten = []\n",
     "m.toml:6: server.b.listen: the server has no address; write for example listen = "
     "[\"127.0.0.1:50051\"]"},
    {"ServerWithoutPlugins", "", "[server.b]\nlisten = [\"127.0.0.1:2\"]\n",
     "m.toml:4: server.b.plugins: the server has no plugin; write for example plugins = "
     "[\"echo\"]"},
    {"ServerWithEmptyPlugins", "", "[server.b]\nlisten = [\"127.0.0.1:2\"]\nplugins = []\n",
     "m.toml:6: server.b.plugins: the server has no plugin; write for example plugins = "
     "[\"echo\"]"},
    {"ServerNoTable", "server.b = 3\n", "",
     "m.toml:1: server.b: expected a table, found an integer; write it as a section of its own, "
     "[server.b]"},
    {"ListenNoArray", "", "[server.b]\nlisten = \"127.0.0.1:2\"\nplugins = [\"echo\"]\n",
     "m.toml:5: server.b.listen: expected an array of strings, found a string; write for example "
     "listen "
     "= [\"127.0.0.1:50051\"]"},
    {"BadAddress", "",
     "[server.b]\nlisten = [\"127.0.0.1:2\",\n  \"localhost\"]\nplugins = [\"echo\"]\n",
     "m.toml:6: server.b.listen: \"localhost\" has no port; write for example \"localhost:50051\""},
    {"AddressOfSystemd", "", "[server.b]\nlisten = [\"systemd:\"]\nplugins = [\"echo\"]\n",
     "m.toml:5: server.b.listen: \"systemd:\" needs the name of a socket, as FileDescriptorName= "
     "of "
     "its unit has it; write for example \"systemd:web\""},
    {"SameSocketOfSystemd", "",
     "[server.b]\nlisten = [\"systemd:w\", \"systemd:w\"]\nplugins = [\"echo\"]\n",
     "m.toml:5: server.b.listen: \"systemd:w\" is taken by server.b.listen, \"systemd:w\" at "
     "m.toml:5; choose another address"},
    {"SameAddress", "", "[server.b]\nlisten = [\"127.0.0.1:1\"]\nplugins = [\"echo\"]\n",
     "m.toml:5: server.b.listen: \"127.0.0.1:1\" is taken by server.a.listen, \"127.0.0.1:1\" at "
     "m.toml:2; choose another address"},
    {"OverlappingAddress", "", "[server.b]\nlisten = [\"*:1\"]\nplugins = [\"echo\"]\n",
     "m.toml:5: server.b.listen: \"*:1\" is taken by server.a.listen, \"127.0.0.1:1\" at m.toml:2; "
     "choose another address"},
    {"SameAddressTwice", "",
     "[server.b]\nlisten = [\"unix:/x\", \"unix:/./x\"]\nplugins = [\"echo\"]\n",
     "m.toml:5: server.b.listen: \"unix:/./x\" is taken by server.b.listen, \"unix:/x\" at "
     "m.toml:5; "
     "choose another address"},
    {"AddressOfAdmin", "",
     "[server.b]\nlisten = [\"unix:/run/lastcall/admin.sock\"]\nplugins = [\"echo\"]\n",
     "m.toml:5: server.b.listen: \"unix:/run/lastcall/admin.sock\" is taken by admin.socket, "
     "\"unix:/run/lastcall/admin.sock\"; choose another address"},
    {"TlsWithoutKey", "", "[server.a.tls]\ncertificate = \"x\"\n",
     "m.toml:4: server.a.tls: key is missing; write both, the paths of PEM files, or remove the "
     "section"},
    {"TlsOfClientsAlone", "", "[server.a.tls]\nclient_ca = \"x\"\n",
     "m.toml:4: server.a.tls: certificate is missing; write both, the paths of PEM files, or "
     "remove "
     "the section"},
    {"TlsTypo", "", "[server.a.tls]\ncertificate = \"x\"\nkey = \"y\"\nca = \"z\"\n",
     "m.toml:7: unknown key server.a.tls.ca; known are certificate, client_ca and key"},
    {"Pass", "", "pass = \"fds\"\n",
     "m.toml:4: server.a.pass: not supported by this version; remove it"},
};
INSTANTIATE_TEST_SUITE_P(Servers, MistakeTest, testing::ValuesIn(kServers), NameOf);

const Mistake kLimits[] = {
    {"UnknownLimit", "", "limits.stream = 3\n",
     "m.toml:4: unknown key server.a.limits.stream; did you mean \"streams\"?"},
    {"TooManyConnections", "", "limits.connections = 1000001\n",
     "m.toml:4: server.a.limits.connections: 1000001 is out of range; write an integer from 0 to "
     "1000000"},
    {"NegativeStreams", "", "limits.streams = -1\n",
     "m.toml:4: server.a.limits.streams: -1 is out of range; write an integer from 0 to 1000000"},
    {"ThreadsNoInteger", "", "limits.threads = \"4\"\n",
     "m.toml:4: server.a.limits.threads: expected an integer, found a string; write for example "
     "threads = 1000"},
    {"MessageWithUnknownUnit", "", "limits.message = \"4MB\"\n",
     "m.toml:4: server.a.limits.message: \"4MB\" is not a number of bytes; write an integer, or a "
     "string with one of B KiB MiB GiB, for example \"4MiB\""},
    {"MessageNegative", "", "limits.message = -1\n",
     "m.toml:4: server.a.limits.message: -1 is out of range; write a number of bytes from 0 to "
     "2147483647"},
    {"MessageTooLarge", "", "limits.message = \"17179869184GiB\"\n",
     "m.toml:4: server.a.limits.message: \"17179869184GiB\" is out of range; write a number of "
     "bytes "
     "from 0 to 2147483647"},
    {"MessageNoNumber", "", "limits.message = true\n",
     "m.toml:4: server.a.limits.message: expected a number of bytes, found a boolean; write for "
     "example message = \"4MiB\""},
    {"KeepaliveTooShort", "", "limits.keepalive = \"1us\"\n",
     "m.toml:4: server.a.limits.keepalive: \"1us\" is out of range; write a duration from 1ms to "
     "24d, "
     "or \"0s\""},
    {"InfiniteKeepaliveTimeout", "", "limits.keepalive_timeout = \"infinity\"\n",
     "m.toml:4: server.a.limits.keepalive_timeout: \"infinity\" is out of range; write a duration "
     "from 1ms to 24d, or \"0s\""},
    {"HandshakeTooLong", "", "limits.handshake = \"25d\"\n",
     "m.toml:4: server.a.limits.handshake: \"25d\" is out of range; write a duration from 1ms to "
     "24d, "
     "or \"0s\""},
};
INSTANTIATE_TEST_SUITE_P(Limits, MistakeTest, testing::ValuesIn(kLimits), NameOf);

const Mistake kStalls[] = {
    {"StallTooShort", "", "method.\"/a.B/C\".stall_after = \"10ms\"\n",
     "m.toml:4: server.a.method.\"/a.B/C\".stall_after: \"10ms\" is out of range; write a duration "
     "from 1s to 365d, or \"infinity\""},
    {"MethodName", "", "method.\"a.B/C\".long_polling = true\n",
     "m.toml:4: server.a.method.\"a.B/C\": is not the name of a method; write it as "
     "\"/package.Service/Method\""},
    {"MethodOfNoService", "", "method.\"/C\".long_polling = true\n",
     "m.toml:4: server.a.method.\"/C\": is not the name of a method; write it as "
     "\"/package.Service/Method\""},
    {"MethodWithoutARule", "", "method.\"/a.B/C\" = {}\n",
     "m.toml:4: server.a.method.\"/a.B/C\".stall_after: is missing; write one, or long_polling = "
     "true, or remove the section"},
    {"MethodThatMayNotWaitLong", "", "method.\"/a.B/C\".long_polling = false\n",
     "m.toml:4: server.a.method.\"/a.B/C\".stall_after: is missing; write one, or long_polling = "
     "true, or remove the section"},
    {"MethodWithBoth", "", "method.\"/a.B/C\" = { long_polling = true, stall_after = \"3s\" }\n",
     "m.toml:4: server.a.method.\"/a.B/C\".long_polling: a method whose calls may wait has no "
     "stall_after; remove one of the two"},
    {"MethodKey", "", "method.\"/a.B/C\" = { long_poling = true, stall_after = \"3s\" }\n",
     "m.toml:4: unknown key server.a.method.\"/a.B/C\".long_poling; did you mean "
     "\"long_polling\"?"},
};
INSTANTIATE_TEST_SUITE_P(Stalls, MistakeTest, testing::ValuesIn(kStalls), NameOf);

std::string ServerB(const std::string& plugins) {
  return "[server.b]\nlisten = [\"127.0.0.1:2\"]\nplugins = " + plugins + "\n";
}

const Mistake kPlugins[] = {
    {"PluginTwice", "", ServerB("[\"echo\", \"./echo.so\"]"),
     "m.toml:6: server.b.plugins: the plugin \"echo\" is named twice; a server has one instance of "
     "a "
     "plugin, remove one"},
    {"PluginName", "", ServerB("[\"my plugin\"]"),
     "m.toml:6: server.b.plugins: \"my plugin\" cannot be a plugin's name: a name has letters, "
     "digits "
     "and _ . - only; rename the file"},
    {"PluginByFileName", "", ServerB("[\"echo.so\"]"),
     "m.toml:6: server.b.plugins: \"echo.so\" is a file; write the name, \"echo\", or a path, "
     "\"./echo.so\""},
    {"PluginIsFolder", "", ServerB("[\"plugins/\"]"),
     "m.toml:6: server.b.plugins: \"plugins/\" is a directory; write the path of a file in it"},
    {"PluginEmpty", "", ServerB("[\"\"]"),
     "m.toml:6: server.b.plugins: an entry is empty; write a plugin's name, or the path of a file"},
    {"SectionOfOtherPlugin", "", "[server.a.config.ehco]\nx = 1\n",
     "m.toml:4: server.a.config.ehco: the server \"a\" has no plugin \"ehco\"; did you mean "
     "\"echo\"?"},
    {"SectionOfUnknownPlugin", "", "[server.a.config.greeter]\nx = 1\n",
     "m.toml:4: server.a.config.greeter: the server \"a\" has no plugin \"greeter\"; add it to "
     "plugins, or remove the section"},
    {"SectionNoTable", "", "config.echo = 3\n",
     "m.toml:4: server.a.config.echo: expected a table, found an integer; write it as a section of "
     "its own, [server.a.config.echo]"},
    {"OffloadOfOtherPlugin", "", "[server.a.offload.ehco]\nthreads = 1\n",
     "m.toml:4: server.a.offload.ehco: the server \"a\" has no plugin \"ehco\"; did you mean "
     "\"echo\"?"},
    {"OffloadOfUnknownPlugin", "", "[server.a.offload]\ngreeter.threads = 1\n",
     "m.toml:5: server.a.offload.greeter: the server \"a\" has no plugin \"greeter\"; add it to "
     "plugins, or remove the section"},
    {"OffloadNoTable", "", "offload.echo = 3\n",
     "m.toml:4: server.a.offload.echo: expected a table, found an integer; write it as a section "
     "of "
     "its own, [server.a.offload.echo]"},
    {"UnknownOffload", "", "[server.a.offload.echo]\nthread = 1\n",
     "m.toml:5: unknown key server.a.offload.echo.thread; did you mean \"threads\"?"},
    {"OffloadWithoutThreads", "", "[server.a.offload.echo]\nthreads = 0\n",
     "m.toml:5: server.a.offload.echo.threads: 0 is out of range; write an integer from 1 to "
     "10000"},
    {"OffloadWithANegativeQueue", "", "[server.a.offload.echo]\nqueue = -1\n",
     "m.toml:5: server.a.offload.echo.queue: -1 is out of range; write an integer from 0 to "
     "1000000"},
    {"OffloadWithoutADeadline", "", "[server.a.offload.echo]\ndeadline = \"infinity\"\n",
     "m.toml:5: server.a.offload.echo.deadline: \"infinity\" is out of range; write a duration "
     "from "
     "1ms to 365d"},
    {"Date", "", "[server.a.config.echo]\nsince = 2026-11-21\n",
     "m.toml:5: server.a.config.echo.since: a plugin cannot take a date; write it as a string"},
    {"Time", "", "[server.a.config.echo]\nat = 10:00:00\n",
     "m.toml:5: server.a.config.echo.at: a plugin cannot take a time; write it as a string"},
    {"DateWithTime", "", "[server.a.config.echo]\nup.at = 2026-11-21T10:00:00Z\n",
     "m.toml:5: server.a.config.echo.up.at: a plugin cannot take a date with time; write it as a "
     "string"},
    {"ArrayOfIntegers", "", "[server.a.config.echo]\nports = [1, 2]\n",
     "m.toml:5: server.a.config.echo.ports: a plugin takes arrays of strings only, found an "
     "integer "
     "in "
     "it; write texts, or tables with names of their own"},
    {"MixedArray", "", "[server.a.config.echo]\nports = [\"1\",\n2]\n",
     "m.toml:6: server.a.config.echo.ports: a plugin takes arrays of strings only, found an "
     "integer "
     "in "
     "it; write texts, or tables with names of their own"},
    {"ArrayOfTables", "", "[[server.a.config.echo.backends]]\nhost = \"x\"\n",
     "m.toml:4: server.a.config.echo.backends: a plugin takes arrays of strings only, found a "
     "table "
     "in "
     "it; write texts, or tables with names of their own"},
    {"KeyWithDot", "", "[server.a.config.echo]\n\"a.b\" = 1\n",
     "m.toml:5: server.a.config.echo.\"a.b\": a key must not be empty or have a dot in it; rename "
     "it"},
};
INSTANTIATE_TEST_SUITE_P(Plugins, MistakeTest, testing::ValuesIn(kPlugins), NameOf);

const Mistake kProcesses[] = {
    {"ProcessOfNoServer", "", "[process.reports]\nrestart = \"never\"\n",
     "m.toml:4: process.reports: no server names this process; write process = \"reports\" in a "
     "server, or remove the section"},
    {"ProcessMisspelt", "", "[process.mian]\n",
     "m.toml:4: process.mian: no server names this process; write process = \"mian\" in a server, "
     "or "
     "remove the section; did you mean \"main\"?"},
    {"ProcessNoTable", "process.main = 3\n", "",
     "m.toml:1: process.main: expected a table, found an integer; write it as a section of its "
     "own, "
     "[process.main]"},
    {"UnknownKeyOfProcess", "", "[process.main]\nrestrat = \"always\"\n",
     "m.toml:5: unknown key process.main.restrat; did you mean \"restart\"?"},
    {"Restart", "", "[process.main]\nrestart = \"allways\"\n",
     "m.toml:5: process.main.restart: \"allways\" is unknown; write always, on-failure or never; "
     "did "
     "you mean \"always\"?"},
    {"Frozen", "", "[process.main]\nfrozen = \"replac\"\n",
     "m.toml:5: process.main.frozen: \"replac\" is unknown; write report or replace; did you mean "
     "\"replace\"?"},
    {"FrozenTooSoon", "", "[process.main]\nfrozen_after = \"500ms\"\n",
     "m.toml:5: process.main.frozen_after: \"500ms\" is out of range; write a duration from 1s to "
     "365d"},
    {"FrozenNever", "", "[process.main]\nfrozen_after = \"infinity\"\n",
     "m.toml:5: process.main.frozen_after: \"infinity\" is out of range; write a duration from 1s "
     "to 365d"},
    {"Replicas", "", "[process.main]\nreplicas = 3\n",
     "m.toml:5: process.main.replicas: 3 replicas are not supported by this version; write 1"},
    {"ReplicasZero", "", "[process.main]\nreplicas = 0\n",
     "m.toml:5: process.main.replicas: 0 is out of range; write an integer from 1 to 1000"},
    {"Command", "", "[process.main]\ncommand = [\"/usr/bin/python3\", \"x.py\"]\n",
     "m.toml:5: process.main.command: not supported by this version; give the server plugins, and "
     "remove the command"},
    {"After", "", "[process.main]\nafter = [\"db\"]\n",
     "m.toml:5: process.main.after: not supported by this version; remove it"},
    {"Requires", "", "[process.main]\nrequires = [\"db\"]\n",
     "m.toml:5: process.main.requires: not supported by this version; remove it"},
    {"User", "", "[process.main]\nuser = \"nobody\"\n",
     "m.toml:5: process.main.user: not supported by this version; remove it"},
    {"Environment", "", "[process.main]\nenvironment = { A = \"b\" }\n",
     "m.toml:5: process.main.environment: not supported by this version; remove it"},
    {"Rlimits", "", "[process.main.rlimits]\nnofile = 3\n",
     "m.toml:4: process.main.rlimits: not supported by this version; remove it"},
};
INSTANTIATE_TEST_SUITE_P(Processes, MistakeTest, testing::ValuesIn(kProcesses), NameOf);

}  // namespace
}  // namespace lastcall
