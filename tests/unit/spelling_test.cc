// The word that somebody probably meant.
#include <lastcall/base/spelling.h>

#include <gtest/gtest.h>

namespace lastcall {
namespace {

const std::vector<std::string> kWords = {"listen", "plugins", "process", "keepalive",
                                         "keepalive_timeout"};

struct Guess {
  std::string word;
  std::string meant;
};

class NearestWordTest : public testing::TestWithParam<Guess> {};

TEST_P(NearestWordTest, IsWhatWasMeant) {
  EXPECT_EQ(NearestWord(GetParam().word, kWords), GetParam().meant);
}

const Guess kGuesses[] = {
    {"lisetn", "listen"},
    {"lsiten", "listen"},
    {"listn", "listen"},
    {"listenn", "listen"},
    {"liztem", "listen"},
    {"litsne", "listen"},
    {"LISTEN", ""},
    {"abcxyz", ""},
    {"plugin", "plugins"},
    {"proces", "process"},
    {"keep", ""},
    {"keepalive_time", "keepalive_timeout"},
    {"keepaliv", "keepalive"},
    {"", ""},
    {"x", ""},
    {"lixxxx", ""},
};
INSTANTIATE_TEST_SUITE_P(All, NearestWordTest, testing::ValuesIn(kGuesses));

TEST(NearestWordTest, ShortWordsAreNotReplacedAltogether) {
  EXPECT_EQ(NearestWord("b", {"a"}), "");
  EXPECT_EQ(NearestWord("ab", {"b"}), "");
  EXPECT_EQ(NearestWord("kep", {"keep"}), "keep");
}

TEST(SpellingHintTest, NamesTheWordOrWhatIsKnown) {
  EXPECT_EQ(SpellingHint("lisetn", kWords), "did you mean \"listen\"?");
  EXPECT_EQ(SpellingHint("x", {"alpha", "beta", "gamma"}), "known are alpha, beta and gamma");
  EXPECT_EQ(SpellingHint("x", {"alpha", "beta"}), "known are alpha and beta");
  EXPECT_EQ(SpellingHint("x", {"alpha"}), "known is alpha");
  EXPECT_EQ(SpellingHint("x", {}), "none is known here");
}

}  // namespace
}  // namespace lastcall
