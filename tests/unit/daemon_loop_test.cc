#include "daemon/loop.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>

#include <stdexcept>
#include <string>
#include <vector>

#include <lastcall/base/unique_fd.h>

#include "steady_now.h"

namespace lastcall {
namespace {

class DaemonLoopTest : public testing::Test {
 protected:
  void Run() {
    loop_.Run([this] { return next_; },
              [this] {
                next_ = kNever;
                done_.push_back("due");
                loop_.End();
              });
  }
  Callback Note(const std::string& what) {
    return [this, what] { done_.push_back(what); };
  }

  std::vector<std::string> said_;
  DaemonLoop loop_{[this](LogLevel, std::string_view what) { said_.emplace_back(what); }};
  Instant next_ = kNever;
  std::vector<std::string> done_;
};

TEST_F(DaemonLoopTest, WhatIsPostedRunsInOrderUntilTheEnd) {
  loop_.Post(Note("first"));
  loop_.Post([this] {
    loop_.Post(Note("never"));
    loop_.End();
  });
  Run();
  EXPECT_EQ(done_, std::vector<std::string>{"first"});
}

// After a pause of the process both are due: what has happened counts first.
TEST_F(DaemonLoopTest, WhatIsDueRunsBehindWhatHasHappened) {
  next_ = Now();
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const UniqueFd writer(ends[1]);
  boost::asio::posix::stream_descriptor reader(loop_.context(), ends[0]);
  ASSERT_EQ(write(writer.get(), "!", 1), 1);
  reader.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                    [&](const boost::system::error_code&) { loop_.Post(Note("happened")); });
  Run();
  EXPECT_EQ(done_, (std::vector<std::string>{"happened", "due"}));
}

TEST_F(DaemonLoopTest, AnEarlierInstantTakesThePlaceOfALaterOne) {
  next_ = After(Now(), std::chrono::hours(1));
  loop_.Post([this] { next_ = Now(); });
  Run();
  EXPECT_EQ(done_, std::vector<std::string>{"due"});
}

TEST_F(DaemonLoopTest, AnExceptionEndsItsTurnAndIsNamed) {
  loop_.Post([] { throw std::runtime_error("by\nsurprise"); });
  loop_.Post(Note("the next"));
  loop_.Post([this] { loop_.End(); });
  Run();
  EXPECT_EQ(done_, std::vector<std::string>{"the next"});
  ASSERT_EQ(said_.size(), 1u);
  EXPECT_EQ(said_.front().find('\n'), std::string::npos);
  EXPECT_NE(said_.front().find("surprise"), std::string::npos);
}

TEST_F(DaemonLoopTest, WhatIsReadyRunsInTheMiddleOfATurnWhateverIsThrown) {
  loop_.Post([this] {
    loop_.Post([] { throw std::runtime_error("surprise"); });
    loop_.Post(Note("the next"));
    loop_.RunReady();
    done_.push_back("the turn goes on");
    loop_.End();
  });
  Run();
  EXPECT_EQ(done_, (std::vector<std::string>{"the next", "the turn goes on"}));
  EXPECT_EQ(said_.size(), 1u);
}

}  // namespace
}  // namespace lastcall
