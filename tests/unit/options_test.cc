// The command line of lastcalld.
#include "daemon/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lastcall {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;

using Words = std::vector<std::string>;

tl::expected<Options, std::string> ParseWords(const Words& words) {
  std::vector<const char*> argv = {"lastcalld"};
  for (const std::string& word : words) argv.push_back(word.c_str());
  return Parse(static_cast<int>(argv.size()), argv.data());
}

Options Good(const Words& words) {
  const auto options = ParseWords(words);
  if (!options) ADD_FAILURE() << options.error();
  return options.value_or(Options());
}

std::string Refused(const Words& words) {
  const auto options = ParseWords(words);
  return options ? "" : options.error();
}

TEST(OptionsTest, NothingMeansTheSystemsConfiguration) {
  const Options options = Good({});
  EXPECT_EQ(options.config, "/etc/lastcall/lastcalld.toml");
  EXPECT_FALSE(options.check);
  EXPECT_FALSE(options.help);
  EXPECT_FALSE(options.version);
  EXPECT_THAT(options.plugins, IsEmpty());
}

TEST(OptionsTest, ConfigurationIsRunOrChecked) {
  EXPECT_EQ(Good({"--config", "a.toml"}).config, "a.toml");
  EXPECT_EQ(Good({"--config=a.toml"}).config, "a.toml");
  EXPECT_TRUE(Good({"--config", "a.toml", "--check"}).check);
  EXPECT_TRUE(Good({"--check"}).check);
  EXPECT_EQ(Good({"--check"}).config, "/etc/lastcall/lastcalld.toml");
}

TEST(OptionsTest, PluginsRunWithoutAConfiguration) {
  const Options one = Good({"--plugin", "./a.so"});
  EXPECT_EQ(one.config, "");
  EXPECT_THAT(one.plugins, ElementsAre("./a.so"));
  EXPECT_THAT(one.listen, IsEmpty());
  const Options more =
      Good({"--plugin", "a.so", "b.so", "--listen", "*:1", "--listen=unix:/x", "--plugin", "c.so"});
  EXPECT_THAT(more.plugins, ElementsAre("a.so", "b.so", "c.so"));
  EXPECT_THAT(more.listen, ElementsAre("*:1", "unix:/x"));
}

TEST(OptionsTest, HelpAndVersionHaveTheirText) {
  EXPECT_TRUE(Good({"--help"}).help);
  EXPECT_TRUE(Good({"-h"}).help);
  for (const char* option :
       {"--config FILE", "--check", "--plugin PATH", "--listen ADDRESS", "--version", "--help"}) {
    EXPECT_THAT(Good({"--help"}).text, HasSubstr(option));
  }
  EXPECT_TRUE(Good({"--version"}).version);
  EXPECT_THAT(Good({"--version"}).text, MatchesRegex("lastcalld [0-9.]+\n"));
}

TEST(OptionsTest, HelpIsGivenWhateverElseIsWritten) {
  EXPECT_TRUE(Good({"--help", "--config", "x", "--plugin", "y"}).help);
}

TEST(OptionsTest, HelpFitsATerminal) {
  const std::string text = Good({"--help"}).text;
  size_t begin = 0;
  for (size_t end = text.find('\n'); end != text.npos; end = text.find('\n', begin)) {
    EXPECT_LE(end - begin, 80u) << text.substr(begin, end - begin);
    begin = end + 1;
  }
}

struct Usage {
  std::string name;
  Words words;
  std::string message;
};

class UsageTest : public testing::TestWithParam<Usage> {};

TEST_P(UsageTest, IsRefusedInOneLine) { EXPECT_EQ(Refused(GetParam().words), GetParam().message); }

const Usage kUsages[] = {
    {"UnknownOption", {"--confg", "x"}, "unknown option --confg; did you mean \"--config\"?"},
    {"UnknownOptionWithValue",
     {"--plugins=x"},
     "unknown option --plugins; did you mean \"--plugin\"?"},
    {"UnknownOptionFarFromAll",
     {"--verbose"},
     "unknown option --verbose; known are --config, --check, --plugin, --listen, --version and "
     "--help"},
    {"AdminSocket",
     {"--admin-socket", "x"},
     "unknown option --admin-socket; known are --config, --check, --plugin, --listen, --version "
     "and "
     "--help"},
    {"Positional",
     {"a.toml"},
     "unexpected argument \"a.toml\"; write --config a.toml or --plugin a.toml"},
    {"ConfigWithTwoValues",
     {"--config", "a", "b"},
     "unexpected argument \"b\"; write --config b or --plugin b"},
    {"ConfigWithoutValue", {"--config"}, "--config needs a value; see lastcalld --help"},
    {"ConfigEmpty", {"--config", ""}, "--config needs the path of a file"},
    {"PluginWithoutValue", {"--plugin"}, "--plugin needs a value; see lastcalld --help"},
    {"ConfigTwice", {"--config", "a", "--config", "b"}, "--config was given twice; name one file"},
    {"ConfigAndPlugin",
     {"--config", "a", "--plugin", "b"},
     "--config and --plugin exclude each other; name the plugin in the configuration"},
    {"CheckAndPlugin",
     {"--check", "--plugin", "b"},
     "--check checks a configuration; write it with --config, without --plugin"},
    {"ListenWithoutPlugin",
     {"--listen", "*:1"},
     "--listen needs --plugin; with a configuration write listen in [server.NAME]"},
    {"CheckWithValue",
     {"--check=maybe"},
     "Could not convert: --check = maybe; see lastcalld --help"},
};
INSTANTIATE_TEST_SUITE_P(All, UsageTest, testing::ValuesIn(kUsages),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace lastcall
