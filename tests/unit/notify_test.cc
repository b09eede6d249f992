// What systemd says to this process alone, and what is said back.
#include "lastcall/systemd/notify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace lastcall {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

class SystemdNotifierTest : public testing::Test {
 protected:
  ~SystemdNotifierTest() override {
    for (const char* variable : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) {
      unsetenv(variable);
    }
  }
  // Empty: not set.
  static SystemdNotifier Make(const std::string& socket, const std::string& microseconds,
                              const std::string& pid) {
    Set("NOTIFY_SOCKET", socket);
    Set("WATCHDOG_USEC", microseconds);
    Set("WATCHDOG_PID", pid);
    return SystemdNotifier();
  }
  static void Set(const char* variable, const std::string& value) {
    value.empty() ? unsetenv(variable) : setenv(variable, value.c_str(), 1);
  }
  const std::string own_ = std::to_string(getpid());
};

TEST_F(SystemdNotifierTest, AWatchdogIsWhatSystemdSaysToThisProcess) {
  EXPECT_EQ(Make("/s", "30000000", own_).patience(), 30s);
  EXPECT_EQ(Make("/s", "30000000", "").patience(), 30s);
  EXPECT_EQ(Make("/s", "30000000", "1").patience(), 0s) << "another process's";
  EXPECT_EQ(Make("", "30000000", own_).patience(), 0s) << "there is nobody to tell";
  EXPECT_EQ(Make("/s", "", own_).patience(), 0s);
}

TEST_F(SystemdNotifierTest, WhatIsNoLengthIsNoWatchdog) {
  for (const char* wrong : {"0", "-5", "x", "12x", " 12", "99999999999999999999"}) {
    EXPECT_EQ(Make("/s", wrong, own_).patience(), 0s) << wrong;
  }
  EXPECT_GT(Make("/s", "9223372036854775807", own_).patience(), 0s);
}

TEST_F(SystemdNotifierTest, NothingOfItIsLeftForChildrenAndAllOfItForASuccessor) {
  const SystemdNotifier notifier = Make("/s", "30000000", own_);
  for (const char* variable : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) {
    EXPECT_EQ(std::getenv(variable), nullptr) << variable;
  }
  EXPECT_THAT(notifier.Environment(),
              ElementsAre("NOTIFY_SOCKET=/s", "WATCHDOG_USEC=30000000", "WATCHDOG_PID=" + own_));
  EXPECT_THAT(Make("/s", "30000000", "1").Environment(), ElementsAre("NOTIFY_SOCKET=/s"));
  EXPECT_THAT(Make("", "", "").Environment(), IsEmpty());
}

}  // namespace
}  // namespace lastcall
