// CallInspector: looks at the calls of a host, and cancels them, in a thread of its own: neither the
// host's loop nor who asks waits for it, and no call is stopped for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <lastcall/event/inbox.h>
#include <lastcall/host/call_listing.h>
#include <lastcall/rpc/call_registry.h>

namespace lastcall {

// Threads: any. What it tells is told in its own thread, and must not block.
class CallInspector {
 public:
  // Calls of one server are told in parts of at most so many.
  static constexpr size_t kPart = 500;

  // Fails: throws std::system_error where no thread can be made.
  explicit CallInspector(const Clock& clock);
  // Blocks: until what it looks at is done. Nothing is told afterwards.
  ~CallInspector();

  struct Served {
    std::string server;
    const CallRegistry* calls;
  };
  // Whose calls they are from now on. Those of before are not looked at once this has returned.
  // Blocks: for a moment.
  void Inspect(std::vector<Served> servers);

  // See Host.
  void List(CallFilter filter, size_t limit, TakeCalls take);
  void ListFinished(CallFilter filter, TakeFinished take);
  void Find(uint64_t number, std::function<void(std::optional<CallDetails>)> answer);
  void Cancel(CallChoice choice, std::string why, bool dry_run,
              std::function<void(CallsCancelled)> answer);

 private:
  struct Living {
    std::string server;
    uint64_t number;  // over all servers
    std::shared_ptr<LiveCall> call;
  };
  void Run();
  void Ask(std::function<void()> question) { inbox_.Post(std::move(question)); }
  // Oldest first.
  std::vector<Living> Snapshot(const std::string& server) const;
  std::optional<ListedCall> Look(const Living& living, const CallFilter& filter) const;

  const Clock& clock_;
  mutable std::mutex mutex_;
  std::vector<Served> served_;          // guarded by mutex_
  Inbox<std::function<void()>> inbox_;  // an empty one ends the thread
  std::thread thread_;
};

}  // namespace lastcall
