// FullServers: servers where every thread that they may have for synchronous handlers is held by a call
// that makes no progress; each new call there is refused. A server that is merely busy is none of them.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <lastcall/base/clock.h>
#include <lastcall/rpc/live_call.h>
#include <lastcall/threads/thread_sample.h>

namespace lastcall {

// A server that has as many calls as it may have threads.
struct Crowd {
  struct Call {
    std::shared_ptr<LiveCall> call;
    std::string method;
    // For how long it may be without progress before that means anything: PatienceWith.
    Duration patience{};
  };
  std::string server;
  size_t threads = 0;      // that it may have
  size_t reflections = 0;  // streams of reflection, which hold one each
  std::vector<Call> calls;
};

// How long a thread is held at the least until that is said.
inline constexpr Duration kHeld = std::chrono::milliseconds(500);
// And at the most, whatever is usual.
inline constexpr Duration kHeldForLong = std::chrono::seconds(10);

// Twice as long as is usual for it, within these bounds. `slowest`: of the calls of its method that are
// over; `longest`: a bound of its server's own. A stream is judged by the pace of its own messages.
Duration PatienceWith(const LiveCall& call, Duration slowest, Duration longest);

// What is said of one thread.
struct Holder {
  std::string method;
  std::string why;  // "blocked in futex for 600ms"
  Duration idle{};
};

// "4 of 4 threads are held by /p.S/Slow (blocked in futex for 12s, 3 calls) and /p.S/Put (…)". `named`:
// how a server is called between the words, with a blank before it, or nothing.
std::string DescribeHolders(size_t threads, const std::string& named, size_t reflections,
                            std::vector<Holder> holders);

class FullServers {
 public:
  struct Full {
    Duration age{};         // for how long at the least nothing moves
    std::string by;         // "4 of 4 threads are held by …"
    std::string line;       // the same for the log, which names the server
    std::string signature;  // see StallReports
    struct Thread {
      pid_t id = 0;
      std::string method;
    };
    std::vector<Thread> threads;  // one of each method, a few
  };

  // `forgiven`: nobody is blamed for what was before.
  void Look(Instant now, Instant forgiven, const std::vector<Crowd>& crowds);
  // By name of the server, as of the last look.
  const std::map<std::string, Full>& full() const { return full_; }

 private:
  struct Held;
  // Longest first.
  static std::vector<Held> HeldIn(const Crowd& crowd, Instant now, Instant forgiven);
  Holder Judge(const Held& held) const;
  void Add(const Crowd& crowd, const std::vector<Held>& held);

  std::map<pid_t, ThreadSample> last_samples_;
  std::map<pid_t, ThreadSample> samples_;
  std::map<std::string, Full> full_;
};

}  // namespace lastcall
