// What a server has served, over the incarnations of its process.
#include "daemon/process/ended_calls.h"

#include <gtest/gtest.h>

namespace lastcall {
namespace {

std::vector<ServerView> ReportOf(const std::string& server, const std::string& method,
                                 uint64_t total) {
  ServerView one{.name = server, .calls_total = total};
  one.methods.push_back({.name = method, .total = total});
  return {one};
}

TEST(EndedCallsTest, LivesAddUpAndTravel) {
  EndedCalls calls;
  calls.Add(ReportOf("public", "/a/B", 2));
  calls.Add(ReportOf("public", "/a/B", 3));
  calls.Add(ReportOf("other", "/a/C", 1));
  calls.Add(ReportOf("idle", "/a/B", 0));
  state::v1::State state;
  calls.Save(state);
  EXPECT_EQ(state.ended_calls_size(), 2);
  EndedCalls loaded;
  loaded.Load(state);
  EXPECT_EQ(loaded.of("public").total, 5u);
  EXPECT_EQ(loaded.of("public").methods.at("/a/B"), 5u);
  EXPECT_EQ(loaded.of("other").methods.at("/a/C"), 1u);
  EXPECT_EQ(loaded.of("nobody").total, 0u);
  loaded.KeepOnly([](const std::string& server) { return server == "other"; });
  EXPECT_EQ(loaded.of("public").total, 0u);
  EXPECT_EQ(loaded.of("other").total, 1u);
}

TEST(EndedCallsTest, InventedMethodsHaveABound) {
  EndedCalls calls;
  for (int i = 0; i < 5000; ++i) calls.Add(ReportOf("public", "/x/" + std::to_string(i), 1));
  EXPECT_EQ(calls.of("public").total, 5000u);
  EXPECT_EQ(calls.of("public").methods.size(), 4001u);
  EXPECT_EQ(calls.of("public").methods.at("(others)"), 1000u);
}

}  // namespace
}  // namespace lastcall
