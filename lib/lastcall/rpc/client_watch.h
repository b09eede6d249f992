// ClientWatch: notices that the clients of sync handlers and unary reactors are gone. gRPC tells those only when
// they ask (ServerContext::IsCancelled), so somebody asks for them from time to time.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <stop_token>
#include <vector>

#include <lastcall/base/clock.h>
#include <lastcall/event/standby.h>

namespace lastcall {

// Costs nothing while there is nobody to ask for. Threads: any.
class ClientWatch {
 public:
  // Looks whether the client is gone, and tells who wants to know. False: no need to ask again.
  using Ask = std::function<bool()>;

  // How late it is noticed that a client is gone.
  static constexpr Duration kPeriod = std::chrono::milliseconds(50);

  // Fails: throws std::system_error where no thread can be made.
  explicit ClientWatch(Duration period = kPeriod) : period_(period) {}
  // Blocks: until the round of questions that is in progress is over. What asks is gone afterwards.
  ~ClientWatch() = default;

  // Asks each period until the answer is no, in a thread of the watch: it must not block.
  void Add(Ask ask);

 private:
  void Run(const std::stop_token& end);

  const Duration period_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<Ask> watched_;
  Standby watcher_;  // last: it uses the others; begun when there is somebody to ask for
};

}  // namespace lastcall
