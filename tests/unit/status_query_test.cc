// A status waits for what the processes say, and for none that says nothing.
#include "daemon/status_query.h"

#include <gtest/gtest.h>

#include <memory>

#include <lastcall/testing/fake_clock.h>
#include <lastcall/testing/fake_process.h>
#include <lastcall/testing/recording_log.h>
#include <lastcall/testing/recording_observer.h>

namespace lastcall {
namespace {

class StatusQueryTest : public testing::Test {
 protected:
  void Start(size_t processes) {
    std::vector<ProcessSpec> specs;
    for (size_t i = 0; i < processes; ++i) {
      FakeProcess& process = *processes_.emplace_back(std::make_unique<FakeProcess>());
      process.answers = false;
      specs.push_back(
          {"p" + std::to_string(i), RestartPolicy::kAlways, {}, [&process](uint32_t number) {
             return process.Make(number);
           }});
    }
    supervisor_ = std::make_unique<Supervisor>(Supervisor::Options{}, std::move(specs), clock_,
                                               observer_, log_.log());
    supervisor_->Start();
  }
  void Ask() {
    BeginQuery(loop_, *supervisor_, [this] { ++answers_; });
  }

  boost::asio::io_context loop_{1};
  FakeClock clock_;
  RecordingLog log_;
  RecordingObserver observer_;
  std::vector<std::unique_ptr<FakeProcess>> processes_;
  std::unique_ptr<Supervisor> supervisor_;
  int answers_ = 0;
};

TEST_F(StatusQueryTest, IsAnsweredWithTheLastAnswer) {
  Start(3);
  Ask();
  for (const auto& process : processes_) {
    EXPECT_EQ(answers_, 0);
    process->asked.at(0)();
  }
  EXPECT_EQ(answers_, 1);
  loop_.run();
  EXPECT_EQ(answers_, 1) << "and not again when the time is over";
}

TEST_F(StatusQueryTest, IsAnsweredLaterWhereNobodyIsAsked) {
  Start(0);
  Ask();
  EXPECT_EQ(answers_, 0);
  loop_.poll();
  EXPECT_EQ(answers_, 1);
}

TEST_F(StatusQueryTest, WaitsForNobodyForEver) {
  Start(2);
  Ask();
  processes_[1]->asked.at(0)();
  loop_.poll();
  EXPECT_EQ(answers_, 0) << "there is time yet";
  loop_.run();
  EXPECT_EQ(answers_, 1);
  processes_[0]->asked.at(0)();
  EXPECT_EQ(answers_, 1) << "it comes too late";
}

}  // namespace
}  // namespace lastcall
