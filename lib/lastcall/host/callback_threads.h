// CallbackThreads: the threads on which gRPC runs every callback handler of this process, and which of
// them a handler does not give back.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include <lastcall/base/clock.h>
#include <lastcall/threads/doing.h>
#include <lastcall/threads/symbols.h>
#include <lastcall/threads/thread_sample.h>

namespace lastcall {

class CallbackThreads {
 public:
  // One that has been in somebody's code, and nowhere else, since.
  struct Held {
    pid_t thread = 0;
    Instant since{};
    Doing doing;
    std::vector<std::string> stack;  // innermost first
  };

  // Looks at all of them; from look to look it is known what one does. Some tens of microseconds for
  // each that rests.
  void Look(Instant now);

  size_t count() const { return threads_.size(); }
  const std::vector<Held>& held() const { return held_; }

 private:
  struct Thread {
    ThreadSample last;
    Instant held_since = kNever;
    std::vector<std::string> stack;  // while it is held
  };
  void Enumerate(Instant now);
  void LookAt(pid_t id, Thread& thread);

  std::map<pid_t, Thread> threads_;
  std::unordered_map<pid_t, int> others_;  // how often their names were read
  Instant enumerated_ = Instant::min();
  std::vector<Held> held_;
  SymbolNames names_;
};

}  // namespace lastcall
