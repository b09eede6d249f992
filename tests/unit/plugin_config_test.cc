// A plugin's configuration: what the getters give, what they refuse and how, and what nobody read.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <lastcall/plugin/config.h>

#include <cmath>
#include <functional>

namespace lastcall {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;
using Value = PluginConfig::Value;

PluginConfig Sample() {
  return PluginConfig("server.public.config.echo",
                      {{"greeting", Value{"hello", "lastcalld.toml", 11}},
                       {"port", Value{int64_t{80}, "lastcalld.toml", 12}},
                       {"ratio", Value{0.5, "lastcalld.toml", 13}},
                       {"loud", Value{true, "lastcalld.toml", 14}},
                       {"none", Value{std::nan(""), "lastcalld.toml", 16}},
                       {"endless", Value{HUGE_VAL, "lastcalld.toml", 18}},
                       {"names", Value{PluginConfig::StringList{"a", "b"}, "lastcalld.toml", 15}},
                       {"upstream.wait", Value{"250ms", "lastcalld.toml", 17}}});
}

TEST(PluginConfigTest, GettersGiveWhatIsWritten) {
  const PluginConfig config = Sample();
  EXPECT_EQ(config.String("greeting"), "hello");
  EXPECT_EQ(config.String("greeting", "other"), "hello");
  EXPECT_EQ(config.Integer("port"), 80);
  EXPECT_EQ(config.Integer("port", 1), 80);
  EXPECT_EQ(config.Number("ratio"), 0.5);
  EXPECT_EQ(config.Number("ratio", 1), 0.5);
  EXPECT_EQ(config.Number("endless"), HUGE_VAL);
  EXPECT_EQ(config.Number("port"), 80.0);
  EXPECT_EQ(config.Number("port", 1), 80.0);
  EXPECT_TRUE(config.Boolean("loud", false));
  EXPECT_THAT(config.Strings("names"), ElementsAre("a", "b"));
  EXPECT_EQ(config.Duration("upstream.wait"), milliseconds(250));
  EXPECT_EQ(config.Duration("upstream.wait", seconds(1)), milliseconds(250));
  EXPECT_TRUE(config.Has("port"));
  EXPECT_FALSE(config.Has("prot"));
}

TEST(PluginConfigTest, AbsentKeysHaveTheirDefaults) {
  const PluginConfig config;
  EXPECT_EQ(config.String("x", "other"), "other");
  EXPECT_EQ(config.Integer("x", 1), 1);
  EXPECT_EQ(config.Number("x", 1.5), 1.5);
  EXPECT_TRUE(config.Boolean("x", true));
  EXPECT_EQ(config.Duration("x", seconds(1)), seconds(1));
  EXPECT_THAT(config.Strings("x"), IsEmpty());
}

struct Refusal {
  std::string name;
  std::function<void(const PluginConfig&)> read;
  std::string message;
};

class RefusalTest : public testing::TestWithParam<Refusal> {};

TEST_P(RefusalTest, SaysWhatAndWhere) {
  try {
    GetParam().read(Sample());
    FAIL() << "nothing was thrown";
  } catch (const ConfigError& error) {
    EXPECT_EQ(error.what(), GetParam().message);
  }
}

const Refusal kRefusals[] = {
    {"IntegerForText", [](auto& c) { c.String("port"); },
     "lastcalld.toml:12: server.public.config.echo.port: expected a string, found an integer"},
    {"IntegerForTextWithDefault", [](auto& c) { c.String("port", "x"); },
     "lastcalld.toml:12: server.public.config.echo.port: expected a string, found an integer"},
    {"TextForInteger", [](auto& c) { c.Integer("greeting"); },
     "lastcalld.toml:11: server.public.config.echo.greeting: expected an integer, found a string"},
    {"NumberForInteger", [](auto& c) { c.Integer("ratio", 1); },
     "lastcalld.toml:13: server.public.config.echo.ratio: expected an integer, found a number"},
    {"BooleanForNumber", [](auto& c) { c.Number("loud"); },
     "lastcalld.toml:14: server.public.config.echo.loud: expected a number, found a boolean"},
    {"NotANumber", [](auto& c) { c.Number("none", 1); },
     "lastcalld.toml:16: server.public.config.echo.none: must be a number, not nan"},
    {"ListForBoolean", [](auto& c) { c.Boolean("names", false); },
     "lastcalld.toml:15: server.public.config.echo.names: expected true or false, found an array "
     "of "
     "strings"},
    {"TextForList", [](auto& c) { c.Strings("greeting"); },
     "lastcalld.toml:11: server.public.config.echo.greeting: expected an array of strings, found a "
     "string"},
    {"IntegerForLength", [](auto& c) { c.Duration("port"); },
     "lastcalld.toml:12: server.public.config.echo.port: expected a duration like \"250ms\", found "
     "an "
     "integer"},
    {"BadLength", [](auto& c) { c.Duration("greeting", seconds(1)); },
     "lastcalld.toml:11: server.public.config.echo.greeting: \"hello\" is not a duration: it needs "
     "a "
     "number with a unit; write for example \"250ms\", \"5s\" or \"1m30s\""},
    {"MissingText", [](auto& c) { c.String("x"); },
     "server.public.config.echo.x is missing; write for example x = \"…\""},
    {"MissingInteger", [](auto& c) { c.Integer("x"); },
     "server.public.config.echo.x is missing; write for example x = 1"},
    {"MissingNumber", [](auto& c) { c.Number("x"); },
     "server.public.config.echo.x is missing; write for example x = 1.5"},
    {"MissingLength", [](auto& c) { c.Duration("x"); },
     "server.public.config.echo.x is missing; write for example x = \"5s\""},
    {"RefusedByThePlugin", [](auto& c) { throw c.Refuse("port", "must be below 80"); },
     "lastcalld.toml:12: server.public.config.echo.port: must be below 80"},
    {"DefaultRefusedByThePlugin", [](auto& c) { throw c.Refuse("x", "must be given with port"); },
     "server.public.config.echo.x: must be given with port"},
};
INSTANTIATE_TEST_SUITE_P(All, RefusalTest, testing::ValuesIn(kRefusals),
                         [](const auto& test) { return test.param.name; });

TEST(PluginConfigTest, UnreadKeysAreNamedInTheOrderOfTheFile) {
  const PluginConfig config("server.a.config.b", {{"zz", Value{"", "f.toml", 1}},
                                                  {"greetng", Value{"", "f.toml", 2}},
                                                  {"a", Value{"", "f.toml", 3}},
                                                  {"c", Value{"", "", 0}}});
  config.String("greeting", "");
  config.String("a");
  EXPECT_THAT(config.Unread(),
              ElementsAre("unknown key server.a.config.b.c; known are a and greeting",
                          "f.toml:1: unknown key server.a.config.b.zz; known are a and greeting",
                          "f.toml:2: unknown key server.a.config.b.greetng; did you mean "
                          "\"greeting\"?"));
}

TEST(PluginConfigTest, PluginThatReadsNothingTakesNothing) {
  const PluginConfig config("server.a.config.b", {{"x", Value{"", "f.toml", 1}}});
  EXPECT_THAT(config.Unread(), ElementsAre("f.toml:1: unknown key server.a.config.b.x; the plugin "
                                           "reads none"));
}

TEST(PluginConfigTest, CheckThatReadsSomeKeysIsHeldToThem) {
  const PluginConfig config("server.a.config.b",
                            {{"greetng", Value{"", "f.toml", 2}}, {"zz", Value{"", "f.toml", 1}}});
  EXPECT_THAT(config.Unchecked(), IsEmpty());
  config.String("greeting", "");
  const std::string said =
      " is not read by the plugin's Check, and is refused at a start if its constructor does not "
      "read it either; ";
  EXPECT_THAT(
      config.Unchecked(),
      ElementsAre("f.toml:1: server.a.config.b.zz" + said + "known is greeting",
                  "f.toml:2: server.a.config.b.greetng" + said + "did you mean \"greeting\"?"));
  config.String("zz");
  config.String("greetng");
  EXPECT_THAT(config.Unchecked(), IsEmpty());
}

TEST(PluginConfigTest, HasDoesNotCountAsReading) {
  const PluginConfig config("s", {{"x", Value{"", "f.toml", 1}}});
  EXPECT_TRUE(config.Has("x"));
  EXPECT_THAT(config.Unread(), testing::SizeIs(1));
}

TEST(PluginConfigTest, RefusedValueCountsAsRead) {
  const PluginConfig config("s", {{"x", Value{"", "f.toml", 1}}});
  EXPECT_THROW(config.Integer("x"), ConfigError);
  EXPECT_THAT(config.Unread(), IsEmpty());
}

TEST(PluginConfigTest, CopyRemembersForItself) {
  const PluginConfig original("s", {{"x", Value{"", "f.toml", 1}}, {"y", Value{"", "f.toml", 2}}});
  original.String("x");
  const PluginConfig copy = original;
  copy.String("y");
  EXPECT_THAT(copy.Unread(), IsEmpty());
  EXPECT_THAT(original.Unread(), testing::SizeIs(1));
  PluginConfig assigned;
  assigned = copy;
  EXPECT_THAT(assigned.Unread(), IsEmpty());
}

}  // namespace
}  // namespace lastcall
