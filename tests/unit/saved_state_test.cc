// What the build before hands over is what the next one has: each part as it was.
#include "daemon/handover/saved_state.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "daemon/config/config.h"
#include "temp_folder.h"

namespace lastcall {
namespace {

using namespace std::chrono_literals;

constexpr char kRunning[] = R"(
plugin_dir = "/plugins"
[server.public]
listen = ["unix:/run/public.sock"]
plugins = ["echo"]
)";

// In a fixture Setup is something of GoogleTest's.
using SavedSetup = Setup;

class SavedSetupTest : public testing::Test {
 protected:
  SavedSetupTest() {
    auto config = ConfigFromText(kRunning, "lastcalld.toml");
    if (!config) throw std::runtime_error(Format(config.error()));
    setup_.config = std::move(*config);
    setup_.config.file = "/etc/lastcall/lastcalld.toml";
    setup_.config.origins = {{"shutdown.grace", {"/etc/a.toml", 7}}};
  }
  SavedSetup Again() {
    StateWriter writer;
    Save(setup_, writer);
    // For both are here, and each closes its own.
    for (auto& socket : *writer.state.mutable_sockets()) socket.set_fd(dup(socket.fd()));
    auto again = SetupIn(writer.state);
    if (!again) throw std::runtime_error(again.error().message);
    return std::move(*again);
  }

  SavedSetup setup_;
};

TEST_F(SavedSetupTest, TheConfigurationComesBackWithItsPlaces) {
  const SavedSetup again = Again();
  EXPECT_EQ(again.config.file, "/etc/lastcall/lastcalld.toml");
  EXPECT_EQ(ToToml(again.config), ToToml(setup_.config));
  ASSERT_EQ(again.config.origins.size(), 1u);
  const auto& [key, place] = *again.config.origins.begin();
  EXPECT_EQ(key, "shutdown.grace");
  EXPECT_EQ(place.file, "/etc/a.toml");
  EXPECT_EQ(place.line, 7u);
}

TEST_F(SavedSetupTest, CertificatesComeBackWithTheirServer) {
  const WallTime begins{std::chrono::seconds(1'700'000'000)};
  setup_.config.servers.at(0).tls_pem = {"certificate", "key", "client_ca", begins, begins + 1h};
  const auto again = Again().config.servers.at(0).tls_pem;
  ASSERT_TRUE(again);
  EXPECT_EQ(again->certificate, "certificate");
  EXPECT_EQ(again->key, "key");
  EXPECT_EQ(again->client_ca, "client_ca");
  EXPECT_EQ(again->begins, begins);
  EXPECT_EQ(again->expires, begins + 1h);
}

TEST_F(SavedSetupTest, RolesComeBackAsTheGroupsWereKnown) {
  setup_.roles = Roles({{"admins", 7}, {"gone", std::nullopt}}, {{"viewers", 8}}, geteuid());
  const SavedSetup again = Again();
  const auto groups = [](const std::vector<Roles::Group>& all) {
    std::string text;
    for (const Roles::Group& one : all) {
      text += one.name + "=" + (one.gid ? std::to_string(*one.gid) : "none") + ";";
    }
    return text;
  };
  EXPECT_EQ(groups(again.roles.operators()), "admins=7;gone=none;");
  EXPECT_EQ(groups(again.roles.observers()), "viewers=8;");
}

TEST_F(SavedSetupTest, FingerprintsComeBackOfEachProcess) {
  setup_.fingerprints = {{"main", {{"plugin", "v1"}, {"server", "x"}}}, {"other", {{"a", "b"}}}};
  EXPECT_EQ(Again().fingerprints, setup_.fingerprints);
}

TEST_F(SavedSetupTest, SocketsComeBackWithTheirServerAddressAndPath) {
  const TempFolder folder;
  auto bound = Listener::Bind(*Address::Parse("unix:" + (folder / "public")));
  ASSERT_TRUE(bound);
  setup_.sockets["public"].push_back(
      {"unix:as-written", std::make_shared<const Listener>(UniqueFd(dup(bound->fd())),
                                                           bound->address(), bound->path())});
  const SavedSetup again = Again();
  ASSERT_EQ(again.sockets.size(), 1u);
  const Bound& one = again.sockets.at("public").at(0);
  EXPECT_EQ(one.text, "unix:as-written");
  EXPECT_EQ(one.listener->address(), bound->address());
  EXPECT_EQ(one.listener->path().name, bound->path().name);
  EXPECT_EQ(one.listener->path().inode, bound->path().inode);
}

TEST(SavedStateTest, AnIncarnationComesBackAsItWas) {
  const Instant at{std::chrono::hours(5)};
  Incarnation incarnation;
  incarnation.phase = Phase::kStopping;
  incarnation.number = 7;
  incarnation.stage = Stage::kGrace;
  incarnation.phase_began = at;
  incarnation.began = at + 1s;
  incarnation.accepting_since = at + 2s;
  incarnation.until = at + 3s;
  incarnation.start_error = "it did not start";
  incarnation.bad_configuration = true;
  incarnation.killed = true;
  incarnation.replaced_by = "alice";
  incarnation.receipt = Receipt{.subject = "main", .incarnation = 7};
  const Incarnation again = FromProto(ToProto(incarnation));
  EXPECT_EQ(again.phase, Phase::kStopping);
  EXPECT_EQ(again.number, 7u);
  EXPECT_EQ(again.stage, Stage::kGrace);
  EXPECT_EQ(again.phase_began, at);
  EXPECT_EQ(again.began, at + 1s);
  EXPECT_EQ(again.accepting_since, at + 2s);
  EXPECT_EQ(again.until, at + 3s);
  EXPECT_EQ(again.start_error, "it did not start");
  EXPECT_TRUE(again.bad_configuration);
  EXPECT_TRUE(again.killed);
  EXPECT_EQ(again.replaced_by, "alice");
  ASSERT_TRUE(again.receipt);
  EXPECT_EQ(again.receipt->ToJson(), incarnation.receipt->ToJson());
}

TEST(SavedStateTest, ThatAProcessWasReplacedForBeingFrozenIsNotForgotten) {
  const Instant at{std::chrono::hours(5)};
  state::v1::Member saved;
  for (size_t i = 0; i < FrozenLimit::kMost; ++i)
    saved.add_replaced_frozen_ns(at.time_since_epoch().count());
  EXPECT_EQ(FromProto(saved).history.frozen.Next(at + 1s), at + FrozenLimit::kWithin);
}

TEST(SavedStateTest, WhatIsNeverStaysNever) {
  const Incarnation again = FromProto(ToProto(Incarnation()));
  EXPECT_EQ(again.accepting_since, Incarnation().accepting_since);
  EXPECT_EQ(again.until, kNever);
  EXPECT_FALSE(again.receipt);
  EXPECT_FALSE(again.killed);
  EXPECT_FALSE(again.bad_configuration);
}

}  // namespace
}  // namespace lastcall
