// Threads that work off jobs. SIGTERM: no new job begins, those that have begun may finish for 2 s,
// then they are told to give up.
#include <lastcall/program/program.h>

#include <atomic>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using lastcall::Stage;

// Stands for work of some length: what can be broken off waits for cancel.
bool Finish(const lastcall::Termination& termination, lastcall::Duration length) {
  return !termination.WaitFor(Stage::kCancel, length);
}

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  lastcall::BlockSignals();  // before the first thread
  lastcall::Program program(
      {.name = "worker_pool", .shutdown = {.delay = 0s, .grace = 2s, .cancel = 1s}});
  const lastcall::Termination termination = program.termination();
  const auto length = std::chrono::milliseconds(argc > 1 ? std::atoi(argv[1]) : 300);

  std::atomic<int> next{1};
  std::vector<std::jthread> workers;
  for (int i = 0; i < 4; ++i) {
    workers.emplace_back([&] {
      for (;;) {
        const std::string job = "job " + std::to_string(next++);
        const lastcall::Work work = program.Enter(job);  // grace lasts until it is done
        // Enter, then look: the other way round the program may stop in between.
        if (termination.Reached(Stage::kDelay)) break;
        std::printf("%s began\n", job.c_str());
        std::printf("%s %s\n", job.c_str(), Finish(termination, length) ? "finished" : "gave up");
      }
    });
  }
  program.Ready();
  std::puts("ready");
  const int code = program.Run();
  std::puts(program.receipt()->ToJson().c_str());
  return code;
}
