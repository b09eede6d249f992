// Calls that wait: so many of one user, so many together.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "daemon/admin/waiting_calls.h"

namespace lastcall {
namespace {

using testing::HasSubstr;

class WaitingCallsTest : public testing::Test {
 protected:
  // How many get in before one is refused.
  int Enter(uid_t uid) {
    for (int entered = 0;; ++entered) {
      auto place = calls_.Enter(uid);
      if (!place) {
        EXPECT_EQ(place.error().code, Code::kResourceExhausted);
        refusal_ = place.error().message;
        return entered;
      }
      places_.push_back(std::move(*place));
    }
  }

  WaitingCalls calls_{{.of_user = 2, .of_all = 5}};
  std::vector<WaitingCalls::Place> places_;
  std::string refusal_;
};

TEST_F(WaitingCallsTest, OneUserLeavesRoomForOthers) {
  EXPECT_EQ(Enter(7), 2);
  EXPECT_THAT(refusal_, HasSubstr("uid 7 has 2 calls that wait"));
  EXPECT_EQ(Enter(8), 2);
  EXPECT_EQ(Enter(0), 1);
  EXPECT_THAT(refusal_, HasSubstr("there are 5 calls that wait"));
  EXPECT_EQ(Enter(9), 0);
}

TEST_F(WaitingCallsTest, WhatEndsMakesRoom) {
  EXPECT_EQ(Enter(7), 2);
  places_.pop_back();
  EXPECT_EQ(Enter(7), 1);
  places_.clear();
  EXPECT_EQ(Enter(8), 2);
  EXPECT_EQ(Enter(7), 2);
}

}  // namespace
}  // namespace lastcall
