// Problems of several values and files: all are found, sorted, and none hides another.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "config_problems_fixture.h"

namespace lastcall {
namespace {

using testing::ElementsAre;

TEST_F(ProblemsTest, ProgramNeedsNoPlugins) {
  EXPECT_THAT(Problems("[server.a]\nlisten = [\"127.0.0.1:1\"]\nprocess = \"p\"\n"
                       "[process.p]\ncommand = [\"x\"]\n"),
              ElementsAre("m.toml:5: process.p.command: not supported by this version; give the "
                          "server plugins, and remove the command"));
}

TEST_F(ProblemsTest, MissingFileIsOneProblem) {
  EXPECT_THAT(ProblemsOf(folder_ / "none.toml"),
              ElementsAre("none.toml: cannot be read: No such file or directory; name another file "
                          "with --config, or run plugins without a file with --plugin"));
}

TEST_F(ProblemsTest, FolderIsNoFile) {
  folder_.Write("folder/x", "");
  EXPECT_THAT(
      ProblemsOf(folder_ / "folder"),
      ElementsAre("folder: cannot be read: Is a directory; make it a file that the daemon's "
                  "user may read"));
}

TEST_F(ProblemsTest, NoServerIsAProblem) {
  EXPECT_THAT(Problems(""), ElementsAre("m.toml: no server is configured; add a section "
                                        "[server.NAME] with listen and plugins, here or in a "
                                        "drop-in"));
}

TEST_F(ProblemsTest, DropInFolderMustBeAFolder) {
  folder_.Write("m.d", "");
  EXPECT_THAT(Problems(kServer),
              ElementsAre("m.d: cannot be read: Not a directory; make it a directory "
                          "that the daemon's user may read, or remove it"));
}

TEST_F(ProblemsTest, SyntaxErrorsOfAllFilesAreSaidAtOnce) {
  folder_.Write("m.d/10.toml", "a = 1\na = 2\n");
  folder_.Write("m.d/20.toml", kServer);
  folder_.Write("m.d/30.toml", "[server\n");
  std::filesystem::create_directory(folder_ / "m.d/40.toml");
  EXPECT_THAT(
      Problems("[log]\nlevel = loud\n"),
      ElementsAre(
          "m.toml:2:9: not valid TOML: value: could not determine value type; texts need "
          "quotes; all of the syntax is at https://toml.io",
          "m.d/10.toml:2:5: not valid TOML: key-value pair: cannot redefine existing integer "
          "'a'; texts need quotes; all of the syntax is at https://toml.io",
          "m.d/30.toml:1:8: not valid TOML: table header: expected ']', saw '\\n'; texts need "
          "quotes; all of the syntax is at https://toml.io",
          "m.d/40.toml: cannot be read: Is a directory; make it a file that the daemon's "
          "user may read"));
}

TEST_F(ProblemsTest, ProblemsAreSortedByPlaceAndNameTheirFile) {
  folder_.Write("m.d/20.toml", "[server.a]\nreflektion = true\n");
  folder_.Write("m.d/10.toml", "\n[log]\nlevel = 3\n[shutdown]\ndelay = 5\n");
  EXPECT_THAT(
      Problems(std::string("colour = 1\n[log]\nlevel = 4\n") + kServer + "proces = \"x\"\n"),
      ElementsAre("m.toml:1: unknown key colour; known are admin, log, plugin_dir, process, "
                  "reload, server, shutdown and state_dir",
                  "m.toml:7: unknown key server.a.proces; did you mean \"process\"?",
                  "m.d/10.toml:3: log.level: expected a string, found an integer; write for "
                  "example level = \"…\"",
                  "m.d/10.toml:5: shutdown.delay: expected a duration with a unit, in quotes, "
                  "found an integer; write for example delay = \"5s\"",
                  "m.d/20.toml:2: unknown key server.a.reflektion; did you mean "
                  "\"reflection\"?"));
}

TEST_F(ProblemsTest, DropInMayBreakWhatWasATable) {
  folder_.Write("m.d/a.toml", "shutdown = 3\n");
  EXPECT_THAT(
      Problems(std::string(kServer) + "[shutdown]\ndelay = \"1s\"\n"),
      ElementsAre("m.d/a.toml:1: shutdown: expected a table, found an integer; write it as a "
                  "section of its own, [shutdown]"));
}

TEST_F(ProblemsTest, BadEntriesOfAnArrayDoNotHideOthers) {
  EXPECT_THAT(
      Problems("[server.a]\nplugins = [\"echo\"]\nlisten = [\n1,\n\"x\",\n\"y\"]\n"),
      ElementsAre("m.toml:4: server.a.listen: expected an array of strings, found an integer in "
                  "it; write for example listen = [\"127.0.0.1:50051\"]",
                  "m.toml:5: server.a.listen: \"x\" has no port; write for example "
                  "\"x:50051\"",
                  "m.toml:6: server.a.listen: \"y\" has no port; write for example "
                  "\"y:50051\""));
}

// One line for every problem, whatever the file contains.
TEST_F(ProblemsTest, MessagesHaveNoControlCharacters) {
  const Lines lines = Problems("log.level = \"a\\nb\"\nshutdown.delay = \"\\u001b[31m\"\n" +
                               std::string(kServer) + "\"x\\ny\" = 1\n");
  ASSERT_EQ(lines.size(), 3u);
  for (const std::string& line : lines) {
    for (const unsigned char c : line) EXPECT_GE(c, 0x20) << line;
  }
}

}  // namespace
}  // namespace lastcall
