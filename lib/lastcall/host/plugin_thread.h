// The thread on which plugins are made, stopped and destroyed: one that hangs hangs here, named, and
// the host goes on.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include <lastcall/base/clock.h>
#include <lastcall/event/inbox.h>

namespace lastcall {

class PluginThread {
 public:
  struct Activity {
    std::string what;  // "plugin echo: constructor"
    Instant since{};
    pid_t thread = 0;
  };

  explicit PluginThread(const Clock& clock);
  // Blocks: until the jobs that were posted are done.
  ~PluginThread();

  // Threads: any. Jobs run one after another.
  void Post(std::function<void()> job) { jobs_.Post(std::move(job)); }
  // Runs `work` under a name. Threads: from inside a job.
  template <class F>
  auto As(std::string what, F work) {
    const Naming naming(*this, std::move(what));
    return work();
  }
  // What is being done now. Threads: any.
  std::optional<Activity> activity() const;

 private:
  class Naming {
   public:
    Naming(PluginThread& thread, std::string what);
    ~Naming();

   private:
    PluginThread& thread_;
  };

  void Run();

  const Clock& clock_;
  Inbox<std::function<void()>> jobs_;  // an empty one ends the thread
  mutable std::mutex mutex_;
  std::optional<Activity> activity_;
  std::thread thread_;
};

}  // namespace lastcall
