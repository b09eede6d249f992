// wake [--rounds N] [--idle SECONDS] [--only WAITERS] [--json]: how long it takes from a request,
// and from kill(), until the last of many waiters is awake, beside what the kernel alone needs in
// the same run; and what a thousand waiting threads cost while nothing happens.
#include <sched.h>
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <numeric>
#include <string>
#include <vector>

#include <lastcall/base/json.h>
#include <lastcall/lifecycle/termination.h>
#include <lastcall/signals/signals.h>

#include "waiters.h"

namespace wake {
namespace {

using lastcall::ToSeconds;

struct Outcome {
  std::string waiters;
  int count;
  From from;
  double ours_us;
  double bare_us;
  double ratio() const { return ours_us / bare_us; }
  double limit() const { return count == 1 ? 2.0 : 1.2; }
};

struct Idle {
  int threads;
  double seconds;
  long voluntary;
  long involuntary;
  double cpu_s;
};

double Microseconds(Waiters& waiters) {
  const lastcall::Instant began = Now();
  waiters.Trigger();
  return 1e6 * ToSeconds(waiters.WaitForLast() - began);
}

double Median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

// Keeps every thread of this process on one CPU. Where there is one waiter, who needs some
// microseconds, the scheduler's choice of a CPU for it, which is another in every run, would be
// measured and nothing else.
class OneCpu {
 public:
  explicit OneCpu(bool wanted) {
    sched_getaffinity(0, sizeof(all_), &all_);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    if (wanted) Allow(one);
  }
  ~OneCpu() { Allow(all_); }

 private:
  static void Allow(const cpu_set_t& cpus) {
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
      sched_setaffinity(std::stoi(task.path().filename()), sizeof(cpus), &cpus);
    }
  }

  cpu_set_t all_;
};

// Ours and the bare one by turns, and each first by turns, so that both meet the same machine.
Outcome Measure(const Scenario& scenario, int rounds) {
  const OneCpu where(scenario.count == 1);
  std::vector<double> ours, bare;
  for (int i = 0; i < rounds + 2; ++i) {
    double our_time = 0, bare_time = 0;
    if (i % 2 == 0) our_time = Microseconds(*scenario.ours());
    bare_time = Microseconds(*scenario.bare());
    if (i % 2 != 0) our_time = Microseconds(*scenario.ours());
    if (i < 2) continue;  // caches, pages
    ours.push_back(our_time);
    bare.push_back(bare_time);
  }
  return {scenario.waiters, scenario.count, scenario.from, Median(ours), Median(bare)};
}

// Context switches of every thread of this process but the calling one: voluntary, involuntary.
std::pair<long, long> Switches() {
  std::pair<long, long> sum{0, 0};
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    if (task.path().filename() == std::to_string(getpid())) continue;
    std::ifstream status(task.path() / "status");
    for (std::string word; status >> word;) {
      long value = 0;
      if (word == "voluntary_ctxt_switches:" && status >> value) sum.first += value;
      if (word == "nonvoluntary_ctxt_switches:" && status >> value) sum.second += value;
    }
  }
  return sum;
}

Idle MeasureIdle(int threads, int seconds) {
  const lastcall::TerminationSource source;
  lastcall::TerminationSource end;
  std::vector<std::thread> waiting;
  for (int i = 0; i < threads; ++i) {
    waiting.emplace_back([view = end.view()] { view.Wait(lastcall::Stage::kDelay); });
  }
  usleep(200'000);
  const auto before = Switches();
  timespec cpu_before{}, cpu_after{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu_before);
  sleep(static_cast<unsigned>(seconds));
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu_after);
  const auto after = Switches();
  end.Reach(lastcall::Stage::kDelay, Now());
  for (std::thread& thread : waiting) thread.join();
  return {threads, static_cast<double>(seconds), after.first - before.first,
          after.second - before.second,
          static_cast<double>(cpu_after.tv_sec - cpu_before.tv_sec) +
              1e-9 * static_cast<double>(cpu_after.tv_nsec - cpu_before.tv_nsec)};
}

const char* Name(From from) { return from == From::kRequest ? "request" : "kill"; }

void Print(const Outcome& outcome) {
  std::printf("%6d %-20s %-8s %10.1f %10.1f %7.2f %7.1f  %s\n", outcome.count,
              outcome.waiters.c_str(), Name(outcome.from), outcome.ours_us, outcome.bare_us,
              outcome.ratio(), outcome.limit(), outcome.ratio() <= outcome.limit() ? "ok" : "OVER");
  std::fflush(stdout);
}

void PrintJson(const std::vector<Outcome>& outcomes, const Idle& idle) {
  lastcall::JsonWriter json;
  json.BeginObject().Key("wake").BeginArray();
  for (const Outcome& outcome : outcomes) {
    json.BeginObject().Key("waiters").String(outcome.waiters);
    json.Key("count").Integer(outcome.count);
    json.Key("from").String(Name(outcome.from));
    json.Key("ours_us").Number(outcome.ours_us).Key("bare_us").Number(outcome.bare_us);
    json.Key("ratio").Number(outcome.ratio()).Key("limit").Number(outcome.limit()).EndObject();
  }
  json.EndArray().Key("idle").BeginObject().Key("threads").Integer(idle.threads);
  json.Key("seconds").Number(idle.seconds).Key("voluntary_switches").Integer(idle.voluntary);
  json.Key("involuntary_switches").Integer(idle.involuntary);
  json.Key("cpu_s").Number(idle.cpu_s).EndObject().EndObject();
  std::puts(json.text().c_str());
}

// Made one after another: the threads of one that sleep at a futex would be in the way of the next,
// whose futex may share a bucket of the kernel's with theirs, and in that of kill(), which looks at
// every thread.
using MakeScenario = std::function<Scenario()>;

std::vector<MakeScenario> Scenarios(From from) {
  std::vector<MakeScenario> all;
  for (const int count : {1, 100, 1000}) {
    all.push_back([=] { return Threads(MakePool(count), count, from); });
  }
  all.push_back([=] { return Epoll(10'000, from); });
  all.push_back([=] { return Callbacks(10'000, from); });
  all.push_back([=] { return Coroutines(10'000, from); });
  return all;
}

int Main(int argc, char** argv) {
  int rounds = 101, idle_seconds = 10;
  bool json = false;
  std::string only;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--json") == 0) json = true;
    if (std::strcmp(argv[i], "--rounds") == 0 && i + 1 < argc) rounds = std::atoi(argv[++i]);
    if (std::strcmp(argv[i], "--idle") == 0 && i + 1 < argc) idle_seconds = std::atoi(argv[++i]);
    if (std::strcmp(argv[i], "--only") == 0 && i + 1 < argc) only = argv[++i];
  }
  lastcall::BlockSignals();
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);

  const Idle idle = MeasureIdle(1000, idle_seconds);
  if (!json) {
    std::printf(
        "%d threads wait for %.0f s: %ld voluntary, %ld involuntary switches, %.6f s CPU\n\n",
        idle.threads, idle.seconds, idle.voluntary, idle.involuntary, idle.cpu_s);
    std::printf("%6s %-20s %-8s %10s %10s %7s %7s\n", "", "waiters", "from", "ours µs", "bare µs",
                "ratio", "limit");
  }
  std::vector<MakeScenario> scenarios = Scenarios(From::kRequest);
  std::ranges::move(Scenarios(From::kKill), std::back_inserter(scenarios));
  std::vector<Outcome> outcomes;
  for (const MakeScenario& make : scenarios) {
    const Scenario scenario = make();
    if (!scenario.waiters.starts_with(only)) continue;
    outcomes.push_back(Measure(scenario, rounds));
    if (!json) Print(outcomes.back());
  }
  if (json) PrintJson(outcomes, idle);
  return 0;
}

}  // namespace
}  // namespace wake

int main(int argc, char** argv) { return wake::Main(argc, argv); }
