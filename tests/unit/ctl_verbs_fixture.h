// What tests of lastcallctl's verbs are written in: a fake daemon, a clock that stands still, and what
// a command has said.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "ctl_fake_admin.h"
#include "ctl_samples.h"
#include "temp_folder.h"
#include "verbs.h"

namespace lastcall {

// Stands still but for the pauses of `wait serving`, and what passes once something has happened.
class StillClock final : public Clock {
 public:
  Instant Now() const override { return now + passed(); }
  WallTime Wall() const override { return WallTime(std::chrono::seconds(1'795'227'490)); }

  Instant now{std::chrono::hours(1)};
  std::function<Duration()> passed = [] { return Duration::zero(); };
};

class VerbsTest : public testing::Test {
 protected:
  FakeAdmin& StartDaemon(const admin::v1::Status& status = ServingStatus()) {
    daemon_.reset();  // it takes its socket with it
    daemon_ = std::make_unique<FakeAdmin>(socket_);
    daemon_->status = status;
    return *daemon_;
  }

  int Run(std::vector<const char*> arguments) {
    arguments.insert(arguments.begin(), {"lastcallctl", "--socket", socket_.c_str()});
    out_.str("");
    err_.str("");
    const auto options =
        ParseOptions(static_cast<int>(arguments.size()), arguments.data(), out_, err_);
    if (!options) return options.error();
    const Session::World world{.clock = clock_,
                               .pause = [this](Duration length) { Pause(length); },
                               .out = out_,
                               .err = err_,
                               .look = look_,
                               .live = live_,
                               .measure = measure_,
                               .confirm = confirm_};
    Session session(*options, world);
    return RunVerb(session);
  }

  void Pause(Duration length) {
    clock_.now += length;
    on_pause_(length);
    if (++pauses_ == start_at_pause_) StartDaemon();
  }

  std::string out() const { return out_.str(); }
  std::string err() const { return err_.str(); }

  TempFolder folder_;
  std::string socket_ = folder_ / "admin.sock";
  StillClock clock_;
  std::unique_ptr<FakeAdmin> daemon_;
  std::ostringstream out_;
  std::ostringstream err_;
  Look look_;
  bool live_ = false;
  std::function<Look()> measure_;
  std::function<bool(const std::string&)> confirm_;  // null: there is no person
  std::function<void(Duration)> on_pause_ = [](Duration) {};
  int pauses_ = 0;
  int start_at_pause_ = 0;  // 0: never
};

// A socket on which connections queue up and nobody answers.
class SilentSocket {
 public:
  explicit SilentSocket(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address{.sun_family = AF_UNIX};
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(fd_.get(), 0), 0);
  }

  int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
};

}  // namespace lastcall
