// Listening sockets that are taken away and made again, on a loop that the test turns; processes are
// replaced by word of mouth.
#include "daemon/setup/socket_keeper.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/post.hpp>

#include <lastcall/testing/fake_clock.h>
#include <lastcall/testing/recording_log.h>

#include "listener_fixture.h"
#include "temp_folder.h"

namespace lastcall {
namespace {

class SocketKeeperTest : public testing::Test {
 protected:
  using Names = std::vector<std::string>;

  // A server "a" listens on "a.sock" in the folder, or where it is said.
  void Serve(const std::string& server, const std::string& process, std::string text = "") {
    if (text.empty()) text = "unix:" + Path(server);
    auto listener = Listener::Bind(Parse(text));
    ASSERT_TRUE(listener) << listener.error().message;
    Configure(server, process, text);
    running_.sockets[server].push_back(
        {text, std::make_shared<const Listener>(std::move(*listener))});
  }
  // The same on a unix socket that systemd passed.
  void ServeSystemd(const std::string& server) {
    Configure(server, "main", "systemd:" + server);
    running_.sockets[server] = {Passed(server)};
  }
  Bound Passed(const std::string& server) {
    auto listener = Listener::Bind(Parse("unix:" + Path(server)));
    EXPECT_TRUE(listener) << listener.error().message;
    return {"systemd:" + server, std::make_shared<const Listener>(listener->Release())};
  }
  void Configure(const std::string& server, const std::string& process, const std::string& text) {
    running_.config.servers.push_back(
        {.name = server, .listen = {Parse(text)}, .process = process});
    const bool known =
        std::any_of(running_.config.processes.begin(), running_.config.processes.end(),
                    [&](const auto& one) { return one.name == process; });
    if (!known) running_.config.processes.push_back({.name = process});
  }
  void Keep() {
    Make();
    keeper_->Begin();
  }
  void Make() {
    keeper_.emplace(
        loop_, clock_, log_.log(), running_,
        SocketKeeper::Owner{.may_change =
                                [this] {
                                  ++looks_;
                                  return may_change_;
                                },
                            .begin_replace = [this](const std::string& process, const Cause&,
                                                    SocketKeeper::Replaced replaced) -> Result<> {
                              if (!may_replace_) return Fail(Code::kFailedPrecondition, "not now");
                              replaced_.push_back(process);
                              answers_.push_back(std::move(replaced));
                              return {};
                            }},
        pace_);
  }

  std::string Path(const std::string& server) { return folder_ / (server + ".sock"); }
  void Remove(const std::string& server) { ASSERT_EQ(unlink(Path(server).c_str()), 0); }
  void ShutDown(const std::string& server) { shutdown(Of(server).fd(), SHUT_RDWR); }
  const Listener& Of(const std::string& server) {
    return *running_.sockets[server].front().listener;
  }
  // Whether who comes to the path now is in the queue of the socket that is kept.
  bool Listens(const std::string& server) {
    const std::string path = Path(server);
    const UniqueFd client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    std::memcpy(name.sun_path, path.data(), path.size());
    return connect(client.get(), reinterpret_cast<sockaddr*>(&name), sizeof(name)) == 0 &&
           UniqueFd(accept4(Of(server).fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  }

  // All that is to happen by now. Order: not where it looks again at once, for that has no end.
  void Turn() {
    loop_.restart();
    loop_.poll();
  }
  void TurnUntil(const std::function<bool()>& is_so) {
    loop_.restart();
    while (!is_so()) {
      ASSERT_GT(loop_.run_one_for(std::chrono::seconds(20)), 0u) << "it waits for nothing";
    }
  }
  void AwaitLooks(int count) {
    TurnUntil([this, all = looks_ + count] { return looks_ >= all; });
  }
  void LookAgainAtOnce() { pace_ = {.look_again = Duration::zero(), .mending = {1e6, 0}}; }
  // How many lines have these words.
  size_t Said(std::string_view words) const {
    const auto lines = log_.lines();
    return static_cast<size_t>(std::count_if(lines.begin(), lines.end(), [&](const auto& line) {
      return line.text.find(words) != std::string::npos;
    }));
  }

  TempFolder folder_;
  FakeClock clock_;
  RecordingLog log_;
  lastcall::Setup running_;  // gtest has another
  bool may_change_ = true;
  bool may_replace_ = true;
  int looks_ = 0;
  Names replaced_;  // what was begun
  std::vector<SocketKeeper::Replaced> answers_;
  SocketKeeper::Pace pace_{.look_again = std::chrono::hours(1)};
  boost::asio::io_context loop_;
  std::optional<SocketKeeper> keeper_;
};

TEST_F(SocketKeeperTest, APathThatWasRemovedIsMadeAgainAndItsProcessReplacedOnce) {
  Serve("a", "main");
  Keep();
  for (const size_t times : {1u, 2u}) {
    Remove("a");
    Turn();
    EXPECT_TRUE(Listens("a"));
    ASSERT_EQ(replaced_, Names(times, "main"));
    answers_.back()("");
    Turn();
    EXPECT_EQ(replaced_.size(), times);
  }
  EXPECT_EQ(Said("server a: the listening socket unix:" + Path("a") +
                 " was removed; recreated, and process main is replaced to serve it"),
            2u);
}

TEST_F(SocketKeeperTest, WhatHappenedBeforeItBeganIsSeen) {
  Serve("a", "main");
  Remove("a");
  Keep();
  EXPECT_TRUE(Listens("a"));
}

TEST_F(SocketKeeperTest, IsMadeWithoutBeginning) {
  Serve("a", "main");
  Remove("a");
  Make();
  Turn();
  EXPECT_EQ(looks_, 0);
}

TEST_F(SocketKeeperTest, TwoSocketsOfAProcessAreOneReplacement) {
  Serve("a", "main");
  Serve("b", "main");
  Serve("c", "other");
  for (const char* server : {"a", "b", "c"}) Remove(server);
  Keep();
  EXPECT_TRUE(Listens("a") && Listens("b") && Listens("c"));
  EXPECT_EQ(replaced_, (Names{"main", "other"}));
}

TEST_F(SocketKeeperTest, AReplacementThatFailsIsTriedAgain) {
  LookAgainAtOnce();
  Serve("a", "main");
  Remove("a");
  Keep();
  Turn();  // nothing else makes it look
  ASSERT_EQ(replaced_.size(), 1u);
  answers_[0]("it exited with 1");
  TurnUntil([this] { return replaced_.size() == 2; });
  ASSERT_EQ(replaced_.size(), 2u);
  EXPECT_EQ(
      Said("process main was not replaced: it exited with 1; clients of its recreated sockets "
           "wait, it is tried every 0 s"),
      1u);
  EXPECT_EQ(Said("recreated, and"), 1u) << "the socket is there";
  answers_[1]("");
  Turn();
  EXPECT_EQ(replaced_.size(), 2u);
}

TEST_F(SocketKeeperTest, AReplacementThatCannotBeginIsTriedAgain) {
  LookAgainAtOnce();
  may_replace_ = false;
  Serve("a", "main");
  Remove("a");
  Keep();
  AwaitLooks(2);
  may_replace_ = true;
  TurnUntil([this] { return !replaced_.empty(); });
  Turn();
  EXPECT_EQ(replaced_, Names{"main"});
}

TEST_F(SocketKeeperTest, AProcessWhoseSocketGoesMeanwhileIsReplacedAgain) {
  Serve("a", "main");
  Keep();
  Remove("a");
  Turn();
  Remove("a");
  Turn();
  ASSERT_EQ(replaced_, (Names{"main", "main"}));
  answers_[0]("it exited with 1");
  Turn();
  EXPECT_EQ(Said("was not replaced"), 0u) << "the second is to come";
  answers_[1]("it exited with 2");
  EXPECT_EQ(Said("was not replaced"), 1u);
}

TEST_F(SocketKeeperTest, OneThatWasShutDownListensAgainAndNothingIsReplaced) {
  Serve("a", "main", "127.0.0.1:0");
  Keep();
  for (const size_t times : {1u, 2u}) {
    ShutDown("a");
    Turn();
    EXPECT_EQ(Of("a").fault(), Listener::Fault::kNone);
    EXPECT_EQ(
        Said("was shut down by a process that shares it: a plugin of process main, or what it "
             "has started; it listens again, connections in its queue are lost"),
        times);
  }
  EXPECT_EQ(replaced_, Names());
}

TEST_F(SocketKeeperTest, AUnixSocketThatWasShutDownIsMadeAgain) {
  Serve("a", "main");
  Keep();
  for (const size_t times : {1u, 2u}) {  // what was made again is watched as well
    ShutDown("a");
    Turn();
    EXPECT_TRUE(Listens("a"));
    EXPECT_EQ(replaced_, Names(times, "main"));
  }
}

TEST_F(SocketKeeperTest, ThatSystemdsCannotBeMadeAgainIsSaidOnceWithARemedy) {
  LookAgainAtOnce();
  ServeSystemd("a");
  ShutDown("a");
  Keep();
  AwaitLooks(3);
  EXPECT_EQ(Said("cannot be recreated now: restart the socket unit that passed it; it is tried"),
            1u);
  EXPECT_EQ(log_.lines().size(), 1u);
  EXPECT_EQ(replaced_, Names());
}

TEST_F(SocketKeeperTest, OneThatIsLostASecondTimeIsSaidAgain) {
  ServeSystemd("a");
  Keep();
  ShutDown("a");
  Turn();
  Remove("a");
  running_.sockets["a"] = {Passed("a")};  // by a reload
  keeper_->Begin();
  ShutDown("a");
  Turn();
  EXPECT_EQ(Said("cannot be recreated now"), 2u);
}

TEST_F(SocketKeeperTest, WhatIsInTheWayIsLeftAloneAndTheSocketMadeWhenItIsGone) {
  LookAgainAtOnce();
  Serve("a", "main");
  Remove("a");
  folder_.Write("a.sock", "a file");
  Keep();
  AwaitLooks(3);
  EXPECT_EQ(Said("cannot be recreated now"), 1u);
  EXPECT_EQ(replaced_, Names());
  Remove("a");
  TurnUntil([this] { return !replaced_.empty(); });
  EXPECT_TRUE(Listens("a"));
}

TEST_F(SocketKeeperTest, ThoseThatCannotBeMendedHoldUpNoOther) {
  pace_.mending = {.burst = 1, .per_second = 0};
  ServeSystemd("a");
  ServeSystemd("b");
  Serve("c", "main");
  ShutDown("a");
  ShutDown("b");
  Remove("c");
  Keep();
  EXPECT_TRUE(Listens("c"));
  EXPECT_EQ(Said("cannot be recreated now"), 2u);
}

TEST_F(SocketKeeperTest, WhileItMayNotNothingIsTouchedAndItLooksAgain) {
  LookAgainAtOnce();
  may_change_ = false;
  Serve("a", "main");
  Serve("b", "main", "127.0.0.1:0");
  Remove("a");
  ShutDown("b");
  Keep();
  AwaitLooks(3);
  EXPECT_NE(access(Path("a").c_str(), F_OK), 0);
  EXPECT_EQ(Of("b").fault(), Listener::Fault::kShutDown);
  EXPECT_EQ(log_.lines().size(), 0u);
  may_change_ = true;
  TurnUntil([this] { return !replaced_.empty(); });
  EXPECT_TRUE(Listens("a"));
  EXPECT_EQ(Of("b").fault(), Listener::Fault::kNone);
}

TEST_F(SocketKeeperTest, AProcessThatIsGoneIsForgotten) {
  LookAgainAtOnce();
  may_replace_ = false;
  Serve("a", "main");
  Remove("a");
  Keep();
  AwaitLooks(1);
  // By a reload.
  running_.config = {};
  running_.sockets.clear();
  may_replace_ = true;
  AwaitLooks(1);
  for (int i = 0; i < 100; ++i) loop_.poll_one();
  EXPECT_EQ(loop_.poll_one(), 0u) << "it goes on to look";
  EXPECT_EQ(replaced_, Names());
}

TEST_F(SocketKeeperTest, OneThatIsTakenAwayAsFastAsItIsMendedIsFollowedForAWhile) {
  pace_.mending = {.burst = 3, .per_second = 0.5};
  Serve("a", "main");
  Keep();
  for (int i = 0; i < 3; ++i) {
    Remove("a");
    Turn();
    EXPECT_TRUE(Listens("a"));
  }
  Remove("a");
  Turn();
  EXPECT_EQ(Said("recreated, and"), 3u);
  clock_.Advance(std::chrono::seconds(2));
  folder_.Write("another", "");
  Turn();
  EXPECT_TRUE(Listens("a"));
  EXPECT_EQ(log_.lines().size(), 4u);
}

TEST_F(SocketKeeperTest, AfterTheEndNothingIsTouched) {
  Serve("a", "main");
  Serve("b", "main");
  Keep();
  Remove("a");
  Turn();
  ASSERT_EQ(replaced_.size(), 1u);
  keeper_->End();
  Remove("b");
  keeper_->Begin();
  const size_t lines = log_.lines().size();
  answers_[0]("a shutdown is in progress");
  Turn();
  EXPECT_NE(access(Path("b").c_str(), F_OK), 0);
  EXPECT_EQ(log_.lines().size(), lines);
  EXPECT_TRUE(loop_.stopped()) << "something is waited for";
}

TEST_F(SocketKeeperTest, AfterTheEndItDoesNotLookAgain) {
  LookAgainAtOnce();
  may_change_ = false;
  Serve("a", "main");
  Keep();
  const int looks = looks_;
  boost::asio::post(loop_, [this] { keeper_->End(); });  // before the loop tells of the time
  Turn();
  EXPECT_EQ(looks_, looks);
}

TEST_F(SocketKeeperTest, WhatIsToldAfterItWasDestroyedIsNotHeard) {
  LookAgainAtOnce();
  Serve("a", "main");
  Remove("a");
  may_change_ = false;
  Keep();
  const int looks = looks_;
  boost::asio::post(loop_, [this] { keeper_.reset(); });  // before the loop tells of the time
  Turn();
  EXPECT_EQ(looks_, looks);
  may_change_ = true;
  Keep();
  ASSERT_EQ(answers_.size(), 1u);
  keeper_.reset();
  answers_[0]("it exited with 1");
  Turn();
  EXPECT_EQ(Said("was not replaced"), 0u);
}

}  // namespace
}  // namespace lastcall
