// Depth of a TOML text: found before anything calls itself for each level; and what else has a
// bound.
#include "daemon/config/depth.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "config_problems_fixture.h"

namespace lastcall {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Times(int count, const std::string& text) {
  std::string all;
  for (int i = 0; i < count; ++i) all += text;
  return all;
}

TEST(ConfigDepthTest, WhatIsTooDeep) {
  struct Case {
    std::string text;
    uint32_t line, column;
  };
  for (const Case& one : {
           Case{Times(32, "a.") + "a = 1", 1, 65},
           Case{"x = 1\n[" + Times(32, "a.") + "a]", 2, 66},
           Case{"[[" + Times(32, "'a' . ") + "a]]", 1, 0},
           Case{"a = " + Times(33, "[") + Times(33, "]"), 1, 38},
           Case{"a = " + Times(33, "{b = "), 1, 0},
           Case{"# \"\na = \"\\\\\" # '\n" + Times(32, "\"b\".") + "b = 1", 3, 0},
           Case{"a = \"\"\"\n\\\"\"\"\"\"\"\n" + Times(32, "b.") + "b = 1", 3, 0},
           Case{"a = '''\n''''' \n" + Times(32, "b.") + "b = 1", 3, 0},
           Case{"a = \"never ended\n" + Times(32, "b.") + "b = 1", 2, 0},
       }) {
    const auto deep = FindTooDeep(one.text);
    ASSERT_TRUE(deep) << one.text;
    EXPECT_EQ(deep->line, one.line) << one.text;
    if (one.column > 0) {
      EXPECT_EQ(deep->column, one.column) << one.text;
    }
  }
}

TEST(ConfigDepthTest, WhatIsNot) {
  for (const std::string& text : {
           std::string(),
           Times(31, "a.") + "a = 1",
           "a = " + Times(32, "[") + Times(32, "]"),
           "a = \"" + Times(100, ".[{") + "\"",
           "a = '" + Times(100, ".[{") + "'",
           "# " + Times(100, ".[{"),
           "a = \"\"\"" + Times(100, ".[{\n") + "\"\"\"",
           "a = '''" + Times(100, ".[{\n") + "'''",
           "a = '''" + Times(100, ".[{\n"),  // never ended
           "a = [" + Times(100, "1.5, [2.5, {b = 'c'}],\n") + "]",
           Times(1000, "a.b = 1.5\n[c.d]\n"),
       }) {
    EXPECT_FALSE(FindTooDeep(text)) << text;
  }
}

using ConfigBoundsTest = ProblemsTest;

// A stack that ends at a few thousand levels has long ended at this one.
TEST_F(ConfigBoundsTest, KeysWithoutEndAreAProblemInTheirFile) {
  const std::string deep = Times(20'000, "a.") + "a = 1\n";
  folder_.Write("m.d/10.toml", "\n" + deep);
  EXPECT_THAT(Problems(kServer),
              ElementsAre("m.d/10.toml:2:65: a key has more than 32 parts; none of ours has"));
}

TEST_F(ConfigBoundsTest, TheFilesTogetherHaveABound) {
  const std::string comment = "#" + std::string(3 << 20, 'x') + "\n";
  folder_.Write("m.d/10.toml", comment);
  folder_.Write("m.d/20.toml", "");
  EXPECT_THAT(
      Problems(comment + kServer),
      ElementsAre("m.d/10.toml: is larger than 4 MiB, together with the files before it; no "
                  "configuration needs so much"));
}

TEST_F(ConfigBoundsTest, DropInsAreCounted) {
  for (int i = 0; i < 1001; ++i) folder_.Write("m.d/" + std::to_string(i) + ".toml", "");
  EXPECT_THAT(Problems(kServer), ElementsAre("m.d: has more than 1000 drop-ins; join some"));
}

TEST_F(ConfigBoundsTest, ProblemsAreCountedBeyondAThousand) {
  std::string text = kServer;
  for (int i = 0; i < 5000; ++i) text += "k" + std::to_string(i) + " = 1\n";
  const Lines lines = Problems(text);
  ASSERT_EQ(lines.size(), 1001u);
  EXPECT_THAT(lines.front(), HasSubstr("m.toml:4: unknown key server.a.k0"));
  EXPECT_EQ(lines.back(), "and 4000 more problems; is it the right file?");
}

TEST_F(ConfigBoundsTest, FiveThousandServersAreFarBelow) {
  std::string text;
  for (int i = 0; i < 5000; ++i) {
    const std::string n = std::to_string(i);
    text += "[server.server-" + n + "]\nlisten = [\"unix:/run/shop/server-" + n +
            ".sock?mode=0660\"]\nplugins = [\"echo\", \"prices\"]\nprocess = \"process-" +
            std::to_string(i % 100) + "\"\nreflection = true\n[server.server-" + n +
            ".limits]\nconnections = 500\nstreams = 50\n";
  }
  EXPECT_GT(text.size(), 1'000'000u);
  EXPECT_THAT(Problems(text), ElementsAre("no problem"));
}

TEST_F(ConfigBoundsTest, ADropInThatIsALinkToNothingIsNoMissingMainFile) {
  std::filesystem::create_directory(folder_ / "m.d");
  std::filesystem::create_symlink("/nowhere", folder_ / "m.d/10.toml");
  std::filesystem::create_symlink("/dev/null", folder_ / "m.d/20.toml");  // left out on purpose
  EXPECT_THAT(Problems(kServer),
              ElementsAre("m.d/10.toml: cannot be read: No such file or directory; it is a link to "
                          "nothing: remove it, or restore what it leads to"));
}

TEST_F(ConfigBoundsTest, WhatIsNoFileIsRefused) {
  folder_.Write("m.d/x", "");
  ASSERT_EQ(mkfifo((folder_ / "m.d/10.toml").c_str(), 0600), 0);
  std::filesystem::create_symlink("/dev/zero", folder_ / "m.d/20.toml");
  EXPECT_THAT(Problems(kServer),
              ElementsAre("m.d/10.toml: is a named pipe (FIFO), not a regular file; make it a file "
                          "that the daemon's user may read",
                          HasSubstr("m.d/20.toml: is a device, not a regular file")));
}

// As a shell's <(…).
TEST(ConfigPipeTest, ItIsReadToItsEndAndRelativeToTheCurrentFolder) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const std::string text = "plugin_dir = \"plugins\"\n" + std::string(kServer);
  ASSERT_EQ(write(ends[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
  close(ends[1]);
  const std::string name = "/dev/fd/" + std::to_string(ends[0]);
  ASSERT_EQ(PipeNamed(name), ends[0]);
  const auto config = LoadConfigFromPipe(ends[0], name);
  close(ends[0]);
  ASSERT_TRUE(config) << Format(config.error());
  EXPECT_TRUE(config->from_pipe);
  EXPECT_EQ(config->file, name);
  EXPECT_EQ(config->plugin_dir, std::filesystem::current_path() / "plugins");
  EXPECT_EQ(config->origins.at("server.a.listen").file, name);
}

TEST(ConfigPipeTest, OnlyOnesOwnDescriptorsAre) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const std::string number = std::to_string(ends[0]);
  EXPECT_EQ(PipeNamed("/dev/fd/" + number), ends[0]);
  EXPECT_EQ(PipeNamed("/proc/self/fd/" + number), ends[0]);
  for (const std::string& path :
       {"/dev/fd/" + number + "x", "/dev/fd/" + number + "/..", std::string("/dev/fd/"),
        std::string("/dev/fd/-1"), std::string("/dev/fd/99999"), "/proc/1/fd/" + number,
        std::string("/dev/null"), std::string("/etc/lastcall")}) {
    EXPECT_EQ(PipeNamed(path), std::nullopt) << path;
  }
  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace lastcall
