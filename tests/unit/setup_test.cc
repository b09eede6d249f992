// What runs when some of the changes of a reload were made, and who else serves an address.
#include "daemon/setup/setup.h"

#include "daemon/process/who_serves.h"
#include "reload_fixture.h"

namespace lastcall {
namespace {

using testing::ElementsAre;
using testing::UnorderedElementsAre;

// "public of a" for each server, in any order.
std::vector<std::string> Servers(const Setup& setup) {
  std::vector<std::string> servers;
  for (const ServerConfig& one : setup.config.servers) {
    servers.push_back(one.name + " of " + one.process);
  }
  return servers;
}

class MergeTest : public ReloadTest {
 protected:
  DaemonSetup Of(const Names& names, const std::string& version) {
    DaemonSetup setup;
    for (const std::string& name : names) {
      AddProcess(setup, name, version);
      setup.sockets[name + "-server"].push_back({.text = version, .listener = nullptr});
    }
    return setup;
  }
  static std::string SocketOf(const DaemonSetup& setup, const std::string& server) {
    return setup.sockets.at(server).at(0).text;
  }
};

TEST_F(MergeTest, WhatFailedIsAsItWas) {
  const DaemonSetup merged =
      Merge(Of({"a", "b"}, "v1"), Of({"a", "b"}, "v2"), {{"a", "", 2}, {"b", "it crashed", 1}});
  EXPECT_EQ(merged.fingerprints.at("a").at("plugin"), "v2");
  EXPECT_EQ(merged.fingerprints.at("b").at("plugin"), "v1");
  EXPECT_EQ(SocketOf(merged, "a-server"), "v2");
  EXPECT_EQ(SocketOf(merged, "b-server"), "v1");
}

TEST_F(MergeTest, WhatWasNotBegunIsAsItWas) {
  const DaemonSetup merged = Merge(Of({"a", "b"}, "v1"), Of({"a", "b"}, "v2"), {{"a", "no", 1}});
  EXPECT_EQ(merged.fingerprints, Of({"a", "b"}, "v1").fingerprints);
}

TEST_F(MergeTest, WhatWasRemovedIsGoneWithItsSockets) {
  const DaemonSetup merged =
      Merge(Of({"a", "b"}, "v1"), Of({"a"}, "v2"), {{"b", "", 0}, {"a", "no", 1}});
  EXPECT_THAT(Servers(merged), ElementsAre("a-server of a"));
  EXPECT_FALSE(merged.sockets.contains("b-server"));
  EXPECT_FALSE(merged.fingerprints.contains("b"));
}

TEST_F(MergeTest, AServerThatMovedBelongsToItsNewProcess) {
  DaemonSetup after = Of({"a", "b"}, "v2");
  after.config.servers[0].process = "b";
  const DaemonSetup merged = Merge(Of({"a", "b"}, "v1"), after, {{"b", "", 2}, {"a", "no", 1}});
  EXPECT_THAT(Servers(merged), UnorderedElementsAre("a-server of b", "b-server of b"));
  EXPECT_EQ(SocketOf(merged, "a-server"), "v2");
}

TEST_F(MergeTest, AllIsDoneWhenEveryChangeHasAnOutcomeAndNoneFailed) {
  const Changes changes{.list = {}, .added = {"c"}, .replaced = {"a"}, .removed = {"b"}};
  EXPECT_TRUE(AllDone({{"c", "", 1}, {"a", "", 2}, {"b", "", 0}}, changes));
  EXPECT_FALSE(AllDone({{"c", "", 1}, {"a", "", 2}}, changes));
  EXPECT_FALSE(AllDone({{"c", "", 1}, {"a", "", 2}, {"b", "why", 0}}, changes));
}

class WhoServesTest : public ReloadTest {
 protected:
  void SetUp() override {
    for (const std::string name : {"a", "b"}) process(name).addresses = {"tcp:1"};
    Serve({"a", "b"});
  }
  bool Served() {
    return WillBeServed("tcp:1", *supervisor_->members()[0].current().process, *supervisor_,
                        setup_.sockets, reload_->candidate());
  }
};

TEST_F(WhoServesTest, AnotherProcessWithTheAddressDoes) {
  EXPECT_TRUE(Served());
  process("b").addresses = {"tcp:2"};
  EXPECT_FALSE(Served());
}

TEST_F(WhoServesTest, OneThatWaitsToBeStartedAgainDoes) {
  process("b").events().Exited({.signal = SIGSEGV});
  EXPECT_TRUE(Served());
}

TEST_F(WhoServesTest, InAStopOnlyWhoeverHasNotComeToGrace) {
  Shutdown();
  EXPECT_TRUE(Served());
  process("b").events().StageReached(Stage::kGrace);
  EXPECT_FALSE(Served());
}

TEST_F(WhoServesTest, WhatMayRunSoonDoes) {
  process("b").addresses = {};
  Begin();
  Read(Files({"a"}, {"b", "c"}));
  ASSERT_NE(reload_->candidate(), nullptr);
  const std::string soon = reload_->candidate()->sockets.at("c-server")[0].listener->address();
  EXPECT_TRUE(WillBeServed(soon, *supervisor_->members()[0].current().process, *supervisor_,
                           setup_.sockets, reload_->candidate()));
  EXPECT_FALSE(WillBeServed(soon, *supervisor_->members()[0].current().process, *supervisor_,
                            setup_.sockets, nullptr));
}

}  // namespace
}  // namespace lastcall
