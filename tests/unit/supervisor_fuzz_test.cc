// Ten thousand shutdowns in which anything may happen at any moment, on a clock that only we move.
#include <algorithm>
#include <deque>
#include <random>

#include "supervisor_fixture.h"

namespace lastcall {
namespace {

using namespace std::chrono_literals;

constexpr Duration kPatience = 1s;  // for the end of what was killed
constexpr std::array kCodes{0, 3, 4, 70, 78};

// One daemon with processes that live, die, report and keep silent at random. Checked on the way:
// no stage goes back, no instant moves back, no process has two incarnations at once, nobody is
// started during a shutdown, and the clock is never asked for what has passed.
class Chaos {
 public:
  explicit Chaos(uint32_t seed) : random_(seed) {
    const size_t count = 1 + Below(3);
    std::vector<ProcessSpec> specs;
    for (size_t i = 0; i < count; ++i) {
      witnesses_.emplace_back();
      specs.push_back({"m" + std::to_string(i),
                       static_cast<RestartPolicy>(Below(3)),
                       {"s" + std::to_string(i)},
                       [process = &witnesses_.back().process](uint32_t number) {
                         return process->Make(number);
                       }});
    }
    const Budget budget{Length(), Length(), Length()};
    supervisor_.emplace(Supervisor::Options{.shutdown = budget, .ready = 1ms * (1 + Below(5'000))},
                        std::move(specs), clock_, observer_,
                        Log([](LogLevel, std::string_view) {}));
    supervisor_->Start();
    Check();
  }

  void Run() {
    for (int i = 0; i < 40 && !HasFailure(); ++i) {
      Step();
      Check();
    }
    if (supervisor_->lifecycle().ledger().empty()) Ask();
    Check();
    // From here on nobody says anything any more: it must end all the same, and in time.
    const Instant bound = std::max(supervisor_->lifecycle().plan().end, clock_.Now()) + kPatience;
    for (int ticks = 0; supervisor_->next_instant() != kNever && !HasFailure(); ++ticks) {
      ASSERT_LT(ticks, 20) << "the clock is asked for again and again";
      clock_.AdvanceTo(supervisor_->next_instant());
      Tick();
      Check();
    }
    ASSERT_LE(clock_.Now(), bound);
    ASSERT_EQ(observer_.receipts().size(), 1u);
    ASSERT_THAT(kCodes, testing::Contains(observer_.receipts()[0].exit_code));
  }

 private:
  struct Witness {
    FakeProcess process;
    bool alive = false;
    bool ready = false;
  };

  static bool HasFailure() { return testing::Test::HasFatalFailure(); }
  uint32_t Below(uint32_t bound) { return static_cast<uint32_t>(random_() % bound); }
  Duration Length() { return Below(4) == 0 ? 0ms : 1ms * Below(10'000); }
  std::optional<Duration> SomeLength() {
    return Below(2) == 0 ? std::optional<Duration>() : Below(5) == 0 ? kForever : Length();
  }

  void Ask() {
    Request request;
    request.at = clock_.Now();
    request.delay = SomeLength();
    request.grace = SomeLength();
    request.cancel = SomeLength();
    request.skip = Below(4) == 0;
    // Somebody at least must want it to end.
    if (request.delay == kForever) request.delay = 0s;
    if (request.grace == kForever) request.grace = 0s;
    if (request.cancel == kForever) request.cancel = 0s;
    supervisor_->OnRequest(std::move(request));
  }

  void Step() {
    const size_t i = Below(static_cast<uint32_t>(witnesses_.size()));
    Witness& witness = witnesses_[i];
    const uint32_t now = supervisor_->members()[i].current().number;
    // Now and then, from an incarnation that is over or has not begun.
    const uint32_t number = Below(8) == 0 ? now - 1 + 2 * Below(2) : now;
    const bool current = number == now && witness.alive;
    if (!witness.process.has_begun(number)) return;
    ProcessEvents& events = witness.process.events(number);
    switch (Below(13)) {
      case 0:
      case 1:
        if (current) witness.ready = true;
        if (current || number != now) events.Ready();
        break;
      case 2:
        if (!current && number == now) break;
        if (current) witness.alive = witness.ready = false;
        events.Exited({.code = static_cast<int>(Below(3))});
        break;
      case 3:
        if (!current && number == now) break;
        if (current) witness.alive = witness.ready = false;
        events.Exited({.signal = SIGSEGV});
        break;
      case 4: events.StageReached(kStages[Below(kStages.size())]); break;
      case 5: events.Reported({.subject = "m", .exit_code = kCodes[Below(5)]}); break;
      case 6: events.StartFailed(Error{static_cast<Code>(Below(17)), "chaos"}); break;
      case 7:
        (void)supervisor_->SetDraining("s" + std::to_string(Below(4)), Below(2) == 0, {});
        break;
      case 8:
        if (Below(4) == 0) Ask();
        break;
      case 9:
        if (Below(3) != 0) break;
        supervisor_->OnSignal({.number = kHandledSignals[Below(kHandledSignals.size())],
                               .code = Below(4) == 0 ? SI_KERNEL : SI_USER,
                               .at = clock_.Now()});
        break;
      case 10: events.Frozen(Below(2) == 0 ? "" : "chaos"); break;
      case 11:
        clock_.Advance(1ms * Below(2'000));
        Tick();
        break;
      default:
        if (supervisor_->next_instant() == kNever) break;
        clock_.AdvanceTo(supervisor_->next_instant() + (Below(3) == 0 ? 1ms * Below(9'000) : 0ms));
        Tick();
        break;
    }
  }

  void Tick() {
    supervisor_->OnTick();
    ASSERT_GT(supervisor_->next_instant(), clock_.Now());
  }

  void Check() {
    const bool stopping = IsStopping(supervisor_->stage());
    for (Witness& witness : witnesses_) {
      for (const std::string& told : witness.process.TakeTold()) {
        if (told.starts_with("start ")) {
          ASSERT_FALSE(witness.alive) << "a second incarnation beside the first";
          ASSERT_FALSE(was_stopping_) << "started during a shutdown";
          witness.alive = true;
          witness.ready = false;
        } else if (told == "accept") {
          ASSERT_TRUE(witness.ready) << "told to accept before it was ready";
        }
      }
    }
    was_stopping_ = stopping;
    const auto& stages = observer_.stages();
    ASSERT_TRUE(std::is_sorted(stages.begin(), stages.end()));
    ASSERT_EQ(std::adjacent_find(stages.begin(), stages.end()), stages.end());
    const Plan& plan = supervisor_->lifecycle().plan();
    ASSERT_EQ(Minimum(plan, plan_), plan) << "an instant moved back";
    plan_ = plan;
    ASSERT_LE(observer_.receipts().size(), 1u);
    ASSERT_EQ(observer_.receipts().size() == 1, IsOver());
  }

  // Finished comes in stopped, and only there.
  bool IsOver() const {
    return supervisor_->stage() == Stage::kStopped && supervisor_->next_instant() == kNever;
  }

  std::mt19937 random_;
  FakeClock clock_;
  RecordingObserver observer_;
  std::deque<Witness> witnesses_;
  std::optional<Supervisor> supervisor_;
  bool was_stopping_ = false;
  Plan plan_;
};

TEST(SupervisorFuzzTest, EveryShutdownEndsOnceInTimeAndForwardsOnly) {
  for (uint32_t seed = 1; seed <= 10'000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Chaos chaos(seed);
    chaos.Run();
    if (testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace lastcall
