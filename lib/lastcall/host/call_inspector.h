// CallInspector: looks at the calls of a host, and cancels them, in a thread of its own: neither the
// host's loop nor who asks waits for it, and no call is stopped for it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <lastcall/base/log.h>
#include <lastcall/event/inbox.h>
#include <lastcall/host/call_listing.h>
#include <lastcall/host/stall_watch.h>
#include <lastcall/rpc/call_registry.h>
#include <lastcall/rpc/canary_report.h>

namespace lastcall {

// Threads: any. What it tells is told in its own thread, and must not block.
class CallInspector {
 public:
  // Calls of one server are told in parts of at most so many.
  static constexpr size_t kPart = 500;

  struct Parts {
    const Clock& clock;
    Log log;
    std::string process;
    uint32_t incarnation = 0;
    Duration frozen_after = std::chrono::seconds(10);
    // How many calls of a server are stalled has changed. In its own thread.
    std::function<void()> stalls_changed = [] {};
    // It is frozen now, or no longer. The same.
    std::function<void()> frozen_changed = [] {};
  };
  // Fails: throws std::system_error where no thread can be made.
  explicit CallInspector(Parts parts);
  // Blocks: until what it looks at is done. Nothing is told afterwards.
  ~CallInspector();

  struct Served {
    std::string server;
    const CallRegistry* calls;
    std::function<std::optional<CanaryReport>()> canary = [] { return std::nullopt; };
    size_t threads = 0;  // for synchronous handlers, that it may have; 0: as many as it likes
  };
  // Whose calls they are from now on. Those of before are not looked at once this has returned.
  // Blocks: for a moment.
  void Inspect(std::vector<Served> servers);

  // Whether it serves: while the process starts or stops the log hears of no stalls, and it is not
  // frozen.
  void SetServing(bool serving) { serving_ = serving; }
  // How many calls of the server are stalled.
  size_t CountStalled(const std::string& server) const;
  // See StallWatch.
  std::string frozen() const;

  // "4 of 4 threads are held by …": calls that make no progress, so that it refuses new ones. Empty:
  // it does not.
  std::string HeldBy(const std::string& server) const;

  // See Host.
  void List(CallFilter filter, size_t limit, TakeCalls take);
  void ListFinished(CallFilter filter, TakeFinished take);
  void Find(uint64_t number, std::function<void(std::optional<CallDetails>)> answer);
  void Cancel(CallChoice choice, std::string why, bool dry_run,
              std::function<void(CallsCancelled)> answer);

 private:
  using Living = StallWatch::Living;
  void Run();
  void Watch();
  StallWatch::View View() const;
  void Ask(std::function<void()> question) { inbox_.Post(std::move(question)); }
  std::vector<Living> Collect(const std::string& server,
                              const std::function<bool(const LiveCall&)>& wanted) const;
  std::vector<Crowd> Crowds() const;
  // Oldest first.
  std::vector<Living> Snapshot(const std::string& server) const;
  std::optional<ListedCall> Look(const Living& living, const CallFilter& filter) const;

  const Parts parts_;
  const Clock& clock_;
  std::atomic<bool> serving_{false};
  mutable std::mutex mutex_;
  std::vector<Served> served_;                  // guarded by mutex_
  std::map<std::string, size_t> stalled_;       // the same: how many, of each server that has any
  std::map<std::string, std::string> held_by_;  // the same: of each server that is full
  std::string frozen_;                          // the same
  StallWatch watch_;                            // the thread's
  Inbox<std::function<void()>> inbox_;          // an empty one ends the thread
  std::thread thread_;
};

}  // namespace lastcall
