// Members that have no process, as after a re-exec: they go by the sockets of their servers.
#include "daemon/process/who_serves.h"

#include <sys/eventfd.h>

#include "supervisor_fixture.h"

namespace lastcall {
namespace {

constexpr char kAddress[] = "127.0.0.1:50051";

// "a" leaves, and "b" has the address.
class WithoutProcessTest : public SupervisorTest {
 protected:
  WithoutProcessTest() {
    running_["b-server"].push_back(
        {kAddress, std::make_shared<const Listener>(UniqueFd(eventfd(0, EFD_CLOEXEC)), kAddress)});
  }

  void Resume(Phase phase, bool stays_down) {
    Supervisor::Resumed resumed;
    for (const std::string name : {"a", "b"}) {
      names_.push_back(name);
      processes_.push_back(std::make_unique<FakeProcess>());
      resumed.members.emplace_back().spec = Spec(name);
    }
    resumed.members[1].current.phase = phase;
    resumed.members[1].stays_down = stays_down;
    supervisor_ = std::make_unique<Supervisor>(Supervisor::Options{}, std::move(resumed), clock_,
                                               observer_, log_.log());
  }
  bool WillBeServed(const std::string& address = kAddress) {
    return lastcall::WillBeServed(address, leaving_, *supervisor_, running_, nullptr);
  }

  Sockets running_;
  FakeProcess maker_;
  const std::unique_ptr<Process> made_ = maker_.Make(1);
  const Process& leaving_ = *made_;
};

TEST_F(WithoutProcessTest, OneThatWaitsToBeRestartedWillServe) {
  Resume(Phase::kWaiting, false);
  EXPECT_TRUE(WillBeServed());
  EXPECT_FALSE(WillBeServed("127.0.0.1:50052"));
}

TEST_F(WithoutProcessTest, OneThatStaysDownByItsPolicyMayBeBroughtBack) {
  Resume(Phase::kDown, true);
  EXPECT_TRUE(WillBeServed());
}

TEST_F(WithoutProcessTest, OneThatIsDownOtherwiseWillNot) {
  Resume(Phase::kDown, false);
  EXPECT_FALSE(WillBeServed());
}

}  // namespace
}  // namespace lastcall
