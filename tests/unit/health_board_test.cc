// What a server answers when asked for its health, and who hears of changes.
#include "lastcall/rpc/health_board.h"

#include <gmock/gmock.h>

#include <atomic>
#include <thread>
#include <vector>

namespace lastcall {
namespace {

using Status = HealthBoard::Status;
using testing::ElementsAre;
using testing::Pair;

class HealthBoardTest : public testing::Test {
 protected:
  HealthBoardTest() {
    board_.AddService("shop.Orders");
    board_.AddService("shop.Prices");
  }

  // How often it was called while `change` ran.
  template <class F>
  int Told(F change) {
    int told = 0;
    const auto subscription = board_.Subscribe([&] { ++told; });
    change();
    return told;
  }

  HealthBoard board_;
};

TEST_F(HealthBoardTest, NothingServesAtFirst) {
  EXPECT_FALSE(board_.serving());
  EXPECT_EQ(board_.StatusOf(""), Status::kNotServing);
  EXPECT_EQ(board_.StatusOf("shop.Prices"), Status::kNotServing);
  EXPECT_EQ(board_.StatusOf("shop.Other"), Status::kUnknown);
}

TEST_F(HealthBoardTest, AServiceServesWhenTheServerDoesAndItsPluginDidNotSayOtherwise) {
  for (const bool server : {false, true}) {
    for (const bool service : {false, true}) {
      board_.SetServing(server);
      EXPECT_TRUE(board_.SetServiceServing("shop.Prices", service));
      EXPECT_EQ(board_.StatusOf("shop.Prices"),
                server && service ? Status::kServing : Status::kNotServing);
      EXPECT_EQ(board_.StatusOf("shop.Orders"), server ? Status::kServing : Status::kNotServing);
      EXPECT_EQ(board_.StatusOf(""), server ? Status::kServing : Status::kNotServing);
      EXPECT_EQ(board_.serving(), server);
    }
  }
}

// A plugin that says "serving" during the drain must not bring its clients back.
TEST_F(HealthBoardTest, APluginCannotServeWhatTheServerDoesNot) {
  board_.SetServing(true);
  board_.SetServing(false);
  board_.SetServiceServing("shop.Prices", true);
  EXPECT_EQ(board_.StatusOf("shop.Prices"), Status::kNotServing);
}

TEST_F(HealthBoardTest, UnknownServicesAreRefused) {
  EXPECT_FALSE(board_.SetServiceServing("shop.Other", true));
  EXPECT_FALSE(board_.SetServiceServing("", true));
}

TEST_F(HealthBoardTest, AddingAServiceAgainKeepsWhatItsPluginSaid) {
  board_.SetServing(true);
  board_.SetServiceServing("shop.Prices", false);
  board_.AddService("shop.Prices");
  EXPECT_EQ(board_.StatusOf("shop.Prices"), Status::kNotServing);
}

TEST_F(HealthBoardTest, ListHasEveryServiceAndTheServer) {
  board_.SetServing(true);
  board_.SetServiceServing("shop.Orders", false);
  EXPECT_THAT(board_.List(),
              ElementsAre(Pair("", Status::kServing), Pair("shop.Orders", Status::kNotServing),
                          Pair("shop.Prices", Status::kServing)));
}

TEST_F(HealthBoardTest, SubscribersHearOfChangesAndOfNothingElse) {
  EXPECT_EQ(Told([&] { board_.SetServing(true); }), 1);
  EXPECT_EQ(Told([&] { board_.SetServing(true); }), 0);
  EXPECT_EQ(Told([&] { board_.SetServiceServing("shop.Prices", false); }), 1);
  EXPECT_EQ(Told([&] { board_.SetServiceServing("shop.Prices", false); }), 0);
  EXPECT_EQ(Told([&] { board_.SetServiceServing("shop.Other", false); }), 0);
  EXPECT_EQ(Told([&] { (void)board_.List(); }), 0);
}

TEST_F(HealthBoardTest, ASubscriberFindsTheNewStatus) {
  std::vector<Status> seen;
  const auto subscription =
      board_.Subscribe([&] { seen.push_back(board_.StatusOf("shop.Prices")); });
  board_.SetServing(true);
  board_.SetServiceServing("shop.Prices", false);
  board_.SetServiceServing("shop.Prices", true);
  EXPECT_THAT(seen, ElementsAre(Status::kServing, Status::kNotServing, Status::kServing));
}

TEST_F(HealthBoardTest, ASubscriptionEndsWithItsHandle) {
  int first = 0, second = 0;
  auto one = board_.Subscribe([&] { ++first; });
  const auto two = board_.Subscribe([&] { ++second; });
  board_.SetServing(true);
  one.reset();
  board_.SetServing(false);
  EXPECT_EQ(first, 1);
  EXPECT_EQ(second, 2);
}

TEST_F(HealthBoardTest, ASubscriberMayEndItselfAndSubscribeAnother) {
  HealthBoard::Subscription self, other;
  int told = 0;
  self = board_.Subscribe([&] {
    self.reset();
    other = board_.Subscribe([&] { ++told; });
  });
  board_.SetServing(true);
  EXPECT_EQ(told, 0);
  board_.SetServing(false);
  EXPECT_EQ(told, 1);
}

TEST_F(HealthBoardTest, EveryChangeIsToldWhicheverThreadMakesIt) {
  constexpr int kChanges = 500;
  std::atomic<int> told{0};
  const auto subscription = board_.Subscribe([&] { ++told; });
  {
    const std::jthread plugin([&] {
      for (int i = 0; i < kChanges; ++i) board_.SetServiceServing("shop.Prices", i % 2 != 0);
    });
    const std::jthread host([&] {
      for (int i = 0; i < kChanges; ++i) board_.SetServing(i % 2 == 0);
    });
    const std::jthread watchers([&] {
      for (int i = 0; i < kChanges; ++i) (void)board_.Subscribe([] {});
    });
  }
  EXPECT_EQ(told, 2 * kChanges);
}

}  // namespace
}  // namespace lastcall
