// How much a host may say, and how it keeps to that.
#include "wire/host_message.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "wire/channel.h"
#include "wire/host_allowance.h"

namespace lastcall {
namespace {

using namespace std::chrono_literals;
using host::v1::FromHost;

// Servers with methods that were called 1, 2, 3 … times, each of them once at the moment.
FromHost ReportOf(int servers, int methods, size_t name_size) {
  FromHost message;
  for (int i = 0; i < servers; ++i) {
    host::v1::ServerReport& server = *message.mutable_report()->add_servers();
    server.set_name("server-" + std::to_string(i));
    for (int j = 0; j < methods; ++j) {
      host::v1::MethodReport& method = *server.add_methods();
      method.set_name(std::to_string(j) + std::string(name_size, 'm'));
      method.set_in_flight(1);
      method.set_total(static_cast<uint64_t>(j) + 1);
    }
  }
  return message;
}

TEST(HostMessageTest, AThousandMethodsOfEachServerAreReportedAsTheyAre) {
  FromHost message = ReportOf(40, 1000, 70);
  const std::string before = message.SerializeAsString();
  FitToSupervisor(message);
  EXPECT_EQ(message.SerializeAsString(), before);
}

TEST(HostMessageTest, AReportThatIsTooLongKeepsItsBusiestMethodsAndEveryCount) {
  FromHost message = ReportOf(250, 1001, 256);
  FitToSupervisor(message);
  EXPECT_LE(message.ByteSizeLong(), kMaxFromHost);
  ASSERT_EQ(message.report().servers_size(), 250);
  for (const host::v1::ServerReport& server : message.report().servers()) {
    uint64_t in_flight = 0, total = 0;
    for (const host::v1::MethodReport& method : server.methods()) {
      in_flight += method.in_flight();
      total += method.total();
    }
    EXPECT_EQ(in_flight, 1001u);
    EXPECT_EQ(total, 1001u * 1002 / 2);
    EXPECT_TRUE(server.methods(0).name().starts_with("1000m"));
    EXPECT_EQ(server.methods(server.methods_size() - 1).name(), "(others)");
  }
}

TEST(HostMessageTest, AReceiptThatIsTooLongKeepsWhoWasStuck) {
  FromHost message;
  for (int i = 0; i < 100; ++i) {
    lastcall::v1::StuckRecord& stuck = *message.mutable_receipt()->add_stuck();
    stuck.set_name("/shop.Prices/Watch");
    for (int frame = 0; frame < 48; ++frame) stuck.add_stack(std::string(4096, 'f'));
  }
  message.mutable_receipt()->set_exit_code(4);
  FitToSupervisor(message);
  EXPECT_LE(message.ByteSizeLong(), kMaxFromHost);
  EXPECT_EQ(message.receipt().stuck_size(), 100);
  EXPECT_EQ(message.receipt().exit_code(), 4);
}

TEST(HostMessageTest, AReceiptOfMoreStuckOnesThanFitKeepsTheFirst) {
  FromHost message;
  message.mutable_receipt()->add_cancelled()->set_method("/shop.Prices/Get");
  for (size_t i = 0; i <= kMaxFromHost / 200; ++i) {
    message.mutable_receipt()->add_stuck()->set_name(std::to_string(i) + std::string(256, 'n'));
  }
  FitToSupervisor(message);
  EXPECT_LE(message.ByteSizeLong(), kMaxFromHost);
  EXPECT_GT(message.ByteSizeLong(), kMaxFromHost - 1000) << "and no more goes than must";
  EXPECT_EQ(message.receipt().cancelled_size(), 0);
  EXPECT_EQ(message.receipt().stuck(0).name().front(), '0');
}

TEST(HostMessageTest, AReportOfMoreThanAHostCanHaveIsNotPlausible) {
  EXPECT_TRUE(IsPlausible(ReportOf(250, 1001, 0).report()));
  EXPECT_TRUE(IsPlausible(ReportOf(10'000, 1, 0).report()));
  EXPECT_FALSE(IsPlausible(ReportOf(10'001, 0, 0).report()));
  EXPECT_FALSE(IsPlausible(ReportOf(1, 262145, 0).report()));
  FromHost of_plugins = ReportOf(1, 262144, 0);
  EXPECT_TRUE(IsPlausible(of_plugins.report()));
  of_plugins.mutable_report()->mutable_servers(0)->add_offloads();
  EXPECT_FALSE(IsPlausible(of_plugins.report()));
}

TEST(HostAllowanceTest, AHostThatIsAskedAnswersAsOftenAsThat) {
  HostAllowance allowance;
  const Instant now{1h};
  for (int i = 0; i < 1000; ++i) {
    allowance.Ordered();
    ASSERT_TRUE(allowance.TryTake(kMaxFromHost - 1024, 0, now));
  }
}

TEST(HostAllowanceTest, WhatNobodyAskedForIsBounded) {
  HostAllowance allowance;
  const Instant now{1h};
  size_t taken = 0;
  while (allowance.TryTake(1 << 20, 0, now)) taken += 1 << 20;
  EXPECT_LE(taken, size_t{16} << 20);
  EXPECT_TRUE(allowance.TryTake((1 << 20) - 1024, 0, now + 1s));
  EXPECT_FALSE(allowance.TryTake((1 << 20) - 1024, 0, now + 1s));
}

TEST(HostAllowanceTest, ManyOrdersSaveNothingUpForAFlood) {
  HostAllowance allowance;
  const Instant now{1h};
  for (int i = 0; i < 1000; ++i) allowance.Ordered();
  size_t taken = 0;
  while (allowance.TryTake(1 << 20, 0, now)) taken += 1 << 20;
  EXPECT_LE(taken, size_t{16} << 20);
}

TEST(HostAllowanceTest, EmptyMessagesCountToo) {
  HostAllowance allowance;
  size_t messages = 0;
  while (allowance.TryTake(0, 0, Instant{1h})) ++messages;
  EXPECT_LE(messages, 16384u);
}

TEST(HostAllowanceTest, TheConnectionsOfAFullHostMayAllBeHandedOver) {
  HostAllowance allowance;
  for (int given = 0; given < 100'000; given += Channel::kMaxFds) {
    ASSERT_TRUE(allowance.TryTake(10, Channel::kMaxFds, Instant{1h}));
  }
}

TEST(HostAllowanceTest, AMessageThatIsTooLongIsNeverTaken) {
  HostAllowance allowance;
  EXPECT_FALSE(allowance.TryTake(kMaxFromHost + 1, 0, Instant{1h}));
  EXPECT_TRUE(allowance.TryTake(kMaxFromHost, 0, Instant{1h}));
}

}  // namespace
}  // namespace lastcall
