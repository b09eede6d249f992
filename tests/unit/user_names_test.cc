// Names of users from a service that does not always answer.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include <lastcall/event/latch.h>

#include "daemon/admin/user_names.h"

namespace lastcall {
namespace {

TEST(UserNamesTest, AnAnswerIsKept) {
  std::atomic<int> asked{0};
  UserNames names([&](uid_t uid) {
    ++asked;
    return uid == 1 ? std::string("alice") : "";
  });
  // It may be late on a busy machine, but it comes.
  while (names.Of(1).empty()) std::this_thread::yield();
  for (int i = 0; i < 10; ++i) EXPECT_EQ(names.Of(1), "alice");
  while (asked < 2) EXPECT_EQ(names.Of(2), "");
  EXPECT_EQ(asked, 2);
}

// In what the look-up shares with the test, for it may outlive the names.
struct Service {
  Latch asked, answers;
};

TEST(UserNamesTest, ASilentServiceHoldsNobodyAndIsAskedOnce) {
  const auto service = std::make_shared<Service>();
  auto names = std::make_unique<UserNames>([service](uid_t uid) {
    service->asked.Set();
    service->answers.Wait();
    return "user" + std::to_string(uid);
  });
  EXPECT_EQ(names->Of(1), "");
  service->asked.Wait();
  // Many of them: each would wait for kPatience, were it not known by now.
  const auto began = std::chrono::steady_clock::now();
  for (uid_t uid = 0; uid < 10'000; ++uid) EXPECT_EQ(names->Of(uid), "");
  EXPECT_LT(std::chrono::steady_clock::now() - began, 50 * UserNames::kPatience);
  service->answers.Set();
  while (names->Of(1) != "user1") std::this_thread::yield();
  while (names->Of(2) != "user2") std::this_thread::yield();
}

TEST(UserNamesTest, EndsWhileAQuestionIsOpen) {
  const auto service = std::make_shared<Service>();
  auto names = std::make_unique<UserNames>([service](uid_t) {
    service->asked.Set();
    service->answers.Wait();
    return std::string("late");
  });
  EXPECT_EQ(names->Of(1), "");
  EXPECT_EQ(names->Of(2), "");
  names.reset();
  service->answers.Set();
}

}  // namespace
}  // namespace lastcall
