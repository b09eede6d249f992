// The admin socket kept, left and closed, with real clients on a loop that the test turns.
#include "daemon/admin/door.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

#include <lastcall/testing/recording_log.h>

#include "lastcall/admin/v1/admin.grpc.pb.h"
#include "listener_fixture.h"
#include "temp_folder.h"

namespace lastcall {
namespace {

namespace fs = std::filesystem;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

// Answers when the test lets it.
class HeldBackend final : public AdminBackend {
 public:
  explicit HeldBackend(boost::asio::io_context& loop) : loop_(loop) {}

  void Post(std::function<void()> question) override { boost::asio::post(loop_, question); }
  void BeginStatus(std::function<void(admin::v1::Status)> answer) override {
    ++asked;
    held.push_back([this, answer = std::move(answer)] { answer(status); });
    if (!hold) Release();
  }
  void BeginCalls(CallsQuestions, std::function<void(CallsAnswers)> answer) override { answer({}); }
  void BeginReload(const admin::v1::ReloadRequest&, const Cause&,
                   std::function<void(Result<admin::v1::ReloadResponse>)> answer) override {
    ++asked;
    held.push_back([answer = std::move(answer)] { answer(admin::v1::ReloadResponse()); });
    if (!hold) Release();
  }
  void Release() {
    for (const auto& answer : std::exchange(held, {})) answer();
  }

  admin::v1::ShutdownResponse Shutdown(const admin::v1::ShutdownRequest&, const Cause&) override {
    return {};
  }
  void BeginRestart(const admin::v1::RestartRequest&, const Cause&,
                    std::function<void(Result<admin::v1::RestartResponse>)> answer) override {
    answer(admin::v1::RestartResponse());
  }
  Result<bool> SetDraining(const admin::v1::SetDrainingRequest&, const Cause&) override {
    return false;
  }
  Result<std::string> SetLogLevel(const std::string& level, const Cause&) override { return level; }
  admin::v1::GetConfigResponse EffectiveConfig() override { return {}; }

  bool hold = false;
  admin::v1::Status status;
  int asked = 0;
  std::vector<std::function<void()>> held;

 private:
  boost::asio::io_context& loop_;
};

// As if every user but root were somebody else to the daemon.
Roles Nobody() { return Roles({}, {}, getuid() + 1); }
Roles OurGroup() { return Roles({{"ours", getgid()}}, {}, getuid() + 1); }

class AdminDoorTest : public testing::Test {
 protected:
  struct Call {
    bool over = false;
    grpc::Status status;
  };
  using Stub = std::shared_ptr<admin::v1::Admin::Stub>;

  AdminDoorTest() { fs::permissions(folder_.path(), fs::perms(0711)); }
  ~AdminDoorTest() override {
    backend_.Release();
    door_.reset();
  }

  void Make(AdminDoor::Timing timing) { door_.emplace(loop_, clock_, log_.log(), timing); }
  void Open(Roles roles = Roles({}, {}, getuid())) {
    const auto open = door_->Open(backend_, std::move(roles));
    ASSERT_TRUE(open) << open.error().message;
  }
  void MakeAndOpen(AdminDoor::Timing timing = {}, Roles roles = Roles({}, {}, getuid())) {
    Make(timing);
    const auto claimed = door_->Claim(path_);
    ASSERT_TRUE(claimed) << claimed.error().message;
    Open(std::move(roles));
  }

  // False: nothing of the kind has happened for very long.
  bool RunUntil(const std::function<bool()>& happened) {
    while (!happened()) {
      if (loop_.run_one_for(seconds(30)) == 0) return false;
    }
    return true;
  }

  // -1: nobody listens there.
  static int Connect(const std::string& path) {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
      close(fd);
      return -1;
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
  }
  // Connected when it returns, which is not to say that anybody has accepted it.
  Stub NewClient() const {
    const int fd = Connect(path_);
    if (fd < 0) throw std::runtime_error("nobody listens at " + path_);
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);  // nothing is read ahead of whoever reads
    return admin::v1::Admin::NewStub(
        grpc::CreateCustomInsecureChannelFromFd("admin", fd, arguments));
  }
  // In a thread of its own; what comes of it comes by the loop, like everything else.
  std::shared_ptr<Call> Begin(std::function<grpc::Status(grpc::ClientContext&)> call) {
    auto made = std::make_shared<Call>();
    threads_.emplace_back([this, made, call = std::move(call)] {
      grpc::ClientContext context;
      context.set_deadline(std::chrono::system_clock::now() + seconds(60));
      const grpc::Status status = call(context);
      boost::asio::post(loop_, [made, status] { *made = {true, status}; });
    });
    return made;
  }
  std::shared_ptr<Call> BeginStatus(const Stub& client) {
    return Begin([client](grpc::ClientContext& context) {
      admin::v1::GetStatusResponse reply;
      return client->GetStatus(&context, {}, &reply);
    });
  }
  std::shared_ptr<Call> BeginReload(const Stub& client) {
    return Begin([client](grpc::ClientContext& context) {
      admin::v1::ReloadResponse reply;
      return client->Reload(&context, {}, &reply);
    });
  }
  // Until its end; `last` is what it saw then.
  std::shared_ptr<Call> BeginWatch(const Stub& client, admin::v1::WatchResponse& last) {
    return Begin([client, &last](grpc::ClientContext& context) {
      const auto reader = client->Watch(&context, {});
      while (reader->Read(&last)) {
      }
      return reader->Finish();
    });
  }
  // More than fits on the way: its handler writes until somebody ends that.
  std::unique_ptr<grpc::ClientReader<admin::v1::WatchResponse>> BeginNotReading(
      const Stub& client, grpc::ClientContext& context) {
    backend_.status.set_config_file(std::string(3 << 20, 'x'));
    auto reader = client->Watch(&context, {});
    EXPECT_TRUE(RunUntil([&] { return backend_.asked == 1; }));
    return reader;
  }
  // Who asks what the loop is not needed for.
  grpc::Status AskVersion(const Stub& client) {
    const auto call = Begin([client](grpc::ClientContext& context) {
      admin::v1::GetVersionResponse reply;
      return client->GetVersion(&context, {}, &reply);
    });
    EXPECT_TRUE(RunUntil([&] { return call->over; }));
    return call->status;
  }
  void ExpectServed(const Stub& client) {
    const grpc::Status status = AskVersion(client);
    EXPECT_TRUE(status.ok()) << status.error_message();
  }

  // Without a turn of the loop. One that is hard upon another finds it not quite over.
  bool AwaitProbe() {
    for (int attempt = 0; attempt < 1000; ++attempt) {
      const auto answered = std::make_shared<std::promise<void>>();
      auto future = answered->get_future();
      if (!door_->BeginProbe([answered] { answered->set_value(); })) return false;
      if (future.wait_for(milliseconds(30)) == std::future_status::ready) return true;
    }
    return false;
  }

  size_t Count(LogLevel level, const std::string& words) const {
    const auto lines = log_.lines();
    return static_cast<size_t>(std::count_if(lines.begin(), lines.end(), [&](const auto& line) {
      return line.level == level && line.text.find(words) != std::string::npos;
    }));
  }
  bool MadeAgain(const std::string& what = "") const {
    return log_.Said(LogLevel::kWarning,
                     "the admin socket " + path_ + what + " was removed; recreated");
  }

  TempFolder folder_;
  const std::string path_ = folder_ / "admin.sock";
  const SteadyClock clock_;
  RecordingLog log_;
  boost::asio::io_context loop_;
  const boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{
      loop_.get_executor()};
  HeldBackend backend_{loop_};
  std::optional<AdminDoor> door_;
  std::vector<std::jthread> threads_;
};

TEST_F(AdminDoorTest, NothingBeginsByItself) {
  Make({});
  EXPECT_EQ(loop_.poll(), 0u);
  EXPECT_TRUE(fs::is_empty(folder_.path()));
}

TEST_F(AdminDoorTest, ASecondOneIsRefused) {
  MakeAndOpen();
  AdminDoor second(loop_, clock_, log_.log());
  const auto claimed = second.Claim(path_);
  ASSERT_FALSE(claimed);
  EXPECT_EQ(claimed.error().code, Code::kAlreadyExists);
  EXPECT_THAT(claimed.error().message, HasSubstr("admin socket: " + path_ + " is held by "));
}

TEST_F(AdminDoorTest, APathThatIsRemovedIsMadeAgain) {
  MakeAndOpen();
  const Stub before = NewClient();
  ExpectServed(before);
  fs::remove(path_);
  ASSERT_TRUE(RunUntil([&] { return MadeAgain(); }));
  ExpectServed(before);
  ExpectServed(NewClient());
}

TEST_F(AdminDoorTest, APathThatWasRemovedBeforeItOpensIsMadeAgain) {
  Make({});
  ASSERT_TRUE(door_->Claim(path_));
  fs::remove(path_);
  Open();
  EXPECT_TRUE(MadeAgain());
  ExpectServed(NewClient());
}

TEST_F(AdminDoorTest, ALockThatIsRemovedIsTakenAgain) {
  MakeAndOpen();
  fs::remove(path_ + ".lock");
  ASSERT_TRUE(RunUntil([&] { return MadeAgain("'s lock"); }));
  EXPECT_FALSE(AdminSocket::Claim(path_));
}

TEST_F(AdminDoorTest, WhatCannotBeMadeAgainIsSaidOnceAndTriedAgain) {
  MakeAndOpen({.again = milliseconds(1)});
  const std::string gone = "the admin socket " + path_ + " is gone, and cannot be recreated now: ";
  for (size_t losses = 1; losses <= 2; ++losses) {
    fs::rename(folder_.path(), folder_.path() + ".moved");
    ASSERT_TRUE(RunUntil([&] { return Count(LogLevel::kError, gone) >= losses; }));
    for (int i = 0; i < 5; ++i) ASSERT_EQ(loop_.run_one_for(seconds(30)), 1u) << "it is tried";
    EXPECT_EQ(Count(LogLevel::kError, gone), losses) << "it is as it was";
    fs::remove_all(folder_.path() + ".moved");
    fs::create_directory(folder_.path());
    ASSERT_TRUE(
        RunUntil([&] { return Count(LogLevel::kWarning, "was removed; recreated") == losses; }));
    ExpectServed(NewClient());
  }
}

TEST_F(AdminDoorTest, ClosingAnswersTheLastCallers) {
  MakeAndOpen({.patience = hours(1)});
  backend_.hold = true;
  const Stub client = NewClient();
  const auto call = BeginStatus(client);
  ASSERT_TRUE(RunUntil([&] { return backend_.asked == 1; }));
  int closed = 0;
  door_->BeginClose([&] { ++closed; });
  door_->BeginClose([&] { ADD_FAILURE() << "it is under way"; });
  EXPECT_EQ(Connect(path_), -1);
  EXPECT_FALSE(fs::exists(path_));
  loop_.poll();
  EXPECT_EQ(closed, 0) << "somebody waits for an answer";
  backend_.Release();
  ASSERT_TRUE(RunUntil([&] { return call->over && closed == 1; }));
  EXPECT_TRUE(call->status.ok()) << call->status.error_message();
  EXPECT_TRUE(fs::exists(path_ + ".lock")) << "nobody else may begin yet";
  door_->End();
  EXPECT_TRUE(fs::is_empty(folder_.path()));
}

// That it is gone is on its way to the loop when its end is wanted.
TEST_F(AdminDoorTest, APathThatIsRemovedJustBeforeItClosesStaysAway) {
  MakeAndOpen({.patience = hours(1)});
  bool closed = false;
  fs::remove(path_);
  boost::asio::post(loop_, [&] { door_->BeginClose([&] { closed = true; }); });
  ASSERT_TRUE(RunUntil([&] { return closed; }));
  EXPECT_FALSE(fs::exists(path_));
  EXPECT_FALSE(MadeAgain());
}

TEST_F(AdminDoorTest, ACallerThatDoesNotReadDoesNotHoldTheEnd) {
  MakeAndOpen({.patience = milliseconds(1), .cancel = hours(1)});
  const Stub client = NewClient();
  grpc::ClientContext context;
  const auto reader = BeginNotReading(client, context);
  bool closed = false;
  door_->hub().Close({});
  door_->BeginClose([&] { closed = true; });
  ASSERT_TRUE(RunUntil([&] { return closed; }));
}

TEST_F(AdminDoorTest, ConnectionsThatDoNotEndAreAbandonedAndThatIsSaid) {
  MakeAndOpen({.patience = milliseconds(1), .cancel = milliseconds(1)});
  backend_.hold = true;
  const Stub client = NewClient();
  const auto call = BeginReload(client);
  ASSERT_TRUE(RunUntil([&] { return backend_.asked == 1; }));
  int closed = 0;
  door_->BeginClose([&] { ++closed; });
  ASSERT_TRUE(RunUntil([&] { return closed == 1; }));
  EXPECT_EQ(Count(LogLevel::kWarning, "connections have not ended; abandoned"), 1u);
  backend_.Release();
  ASSERT_TRUE(RunUntil([&] { return call->over; }));
  ASSERT_EQ(loop_.run_one_for(seconds(30)), 1u) << "that they ended after all";
  EXPECT_EQ(closed, 1) << "is no second end";
}

TEST_F(AdminDoorTest, LeavingKeepsPathAndLockForWhoOpensNext) {
  MakeAndOpen({.patience = hours(1)});
  const Stub watcher = NewClient(), client = NewClient();
  admin::v1::WatchResponse last;
  const auto watch = BeginWatch(watcher, last);
  ASSERT_TRUE(RunUntil([&] { return backend_.asked == 1; }));
  backend_.hold = true;
  const auto call = BeginStatus(client);
  ASSERT_TRUE(RunUntil([&] { return backend_.asked == 2; }));

  bool left = false;
  door_->BeginLeave([&] { left = true; });
  const Stub early = NewClient();  // waits in the queue
  ASSERT_TRUE(RunUntil([&] { return watch->over; }));
  EXPECT_TRUE(last.has_handover()) << "it is told to come again";
  EXPECT_FALSE(left) << "somebody waits for an answer";
  backend_.Release();
  ASSERT_TRUE(RunUntil([&] { return call->over && left; }));
  EXPECT_TRUE(call->status.ok()) << call->status.error_message();
  EXPECT_FALSE(AdminSocket::Claim(path_)) << "the lock is held";
  backend_.hold = false;
  Open();
  ExpectServed(early);
  const auto another = BeginWatch(NewClient(), last);
  ASSERT_TRUE(RunUntil([&] { return backend_.asked == 3; }));
  door_->hub().Close({});
  ASSERT_TRUE(RunUntil([&] { return another->over; }));
  EXPECT_TRUE(last.has_receipt()) << "nobody is sent away any more";
}

TEST_F(AdminDoorTest, APathThatIsRemovedWhileItHasLeftIsMadeAgain) {
  MakeAndOpen({.patience = hours(1)});
  bool left = false;
  door_->BeginLeave([&] { left = true; });
  ASSERT_TRUE(RunUntil([&] { return left; }));
  fs::remove(path_);
  ASSERT_TRUE(RunUntil([&] { return MadeAgain(); }));
  const Stub early = NewClient();
  Open();
  ExpectServed(early);
}

TEST_F(AdminDoorTest, ACallerThatDoesNotReadDoesNotHoldTheLeaving) {
  MakeAndOpen({.patience = milliseconds(1)});
  const Stub client = NewClient();
  grpc::ClientContext context;
  const auto reader = BeginNotReading(client, context);
  bool left = false;
  door_->BeginLeave([&] { left = true; });
  ASSERT_TRUE(RunUntil([&] { return left; }));
}

TEST_F(AdminDoorTest, ClosingWhatIsNotOpenIsOverAtOnce) {
  MakeAndOpen({.patience = hours(1)});
  bool left = false, closed = false;
  door_->BeginLeave([&] { left = true; });
  ASSERT_TRUE(RunUntil([&] { return left; }));
  door_->BeginClose([&] { closed = true; });
  EXPECT_FALSE(closed) << "by the loop, as always";
  ASSERT_TRUE(RunUntil([&] { return closed; }));
}

TEST_F(AdminDoorTest, NewRolesAreForNewConnections) {
  MakeAndOpen({}, Nobody());
  std::vector<Stub> clients;
  {
    const Unprivileged nobody;
    clients.push_back(NewClient());
  }
  EXPECT_EQ(AskVersion(clients[0]).error_code(), grpc::StatusCode::PERMISSION_DENIED);
  door_->SetRoles(OurGroup());
  {
    const Unprivileged nobody;
    clients.push_back(NewClient());
  }
  ExpectServed(clients[1]);
  EXPECT_EQ(AskVersion(clients[0]).error_code(), grpc::StatusCode::PERMISSION_DENIED);
}

TEST_F(AdminDoorTest, AnotherBuildTakesOverSocketAndLock) {
  Make({});
  ASSERT_TRUE(door_->Claim(path_));
  // As after an exec: the numbers are the other's.
  const auto copy = [](int fd) { return UniqueFd(fcntl(fd, F_DUPFD_CLOEXEC, 0)); };
  const Listener& listener = door_->socket().listener();
  AdminDoor another(loop_, clock_, log_.log());
  another.TakeOver(copy(door_->socket().lock()),
                   Listener(copy(listener.fd()), listener.address(), listener.path()));
  EXPECT_EQ(another.socket().path(), path_);
  ASSERT_TRUE(another.Open(backend_, OurGroup()));
  EXPECT_FALSE(log_.Said(LogLevel::kWarning, "")) << "nothing is missing";
  ExpectServed(NewClient());
  EXPECT_FALSE(AdminSocket::Claim(path_)) << "the lock is held";
}

// What the watchdog asks.
TEST_F(AdminDoorTest, AProbeIsAnsweredByTheServerWhateverTheLoopIsAt) {
  MakeAndOpen();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(AwaitProbe());
}

TEST_F(AdminDoorTest, WhereNoCallersAreTakenInNobodyIsProbed) {
  Make({});
  EXPECT_FALSE(door_->BeginProbe([] {}));
  ASSERT_TRUE(door_->Claim(path_));
  EXPECT_FALSE(door_->BeginProbe([] {}));
  Open();
  EXPECT_TRUE(door_->BeginProbe([] {}));
  bool closed = false;
  door_->BeginClose([&] { closed = true; });
  EXPECT_FALSE(door_->BeginProbe([] {}));
  EXPECT_TRUE(RunUntil([&] { return closed; }));
  EXPECT_FALSE(door_->BeginProbe([] {}));
}

TEST_F(AdminDoorTest, OneThatWasLeftIsProbedAgainOnceItIsOpened) {
  MakeAndOpen();
  EXPECT_TRUE(door_->BeginProbe([] {}));
  bool left = false;
  door_->BeginLeave([&] { left = true; });
  EXPECT_FALSE(door_->BeginProbe([] {}));
  EXPECT_TRUE(RunUntil([&] { return left; }));
  Open();
  EXPECT_TRUE(AwaitProbe());
}

}  // namespace
}  // namespace lastcall
