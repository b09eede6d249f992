// Accepts connections on listening sockets that may be shared with other processes.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <lastcall/base/unique_fd.h>
#include <lastcall/rpc/listener.h>

namespace lastcall {

// One thread that waits in poll(2). Starts paused; what comes meanwhile waits in the kernel's queue.
class Acceptor {
 public:
  struct Callbacks {
    // A connection of listening socket number `listener`, non-blocking and CLOEXEC. In the
    // acceptor's thread.
    std::function<void(size_t listener, UniqueFd connection)> accepted;
    // Whether there is room for one more; asked before each accept.
    std::function<bool()> has_room;
    // Something that an operator should know; once for each time that it begins.
    std::function<void(const std::string&)> warn;
  };

  Acceptor(std::vector<Listener> listeners, Callbacks callbacks);
  // Blocks: until the thread has ended. Then the listeners go; other processes' copies of their
  // sockets live on.
  ~Acceptor();

  // Threads: any. Once Pause has returned, `accepted` is not running and will not be called.
  void Resume();
  void Pause();
  // Takes those who wait in the queues by now, where it was accepting, and pauses.
  void LastCall();
  bool accepting() const;

 private:
  enum class Order { kPause, kAccept, kLastCall, kEnd };

  void Run();
  void Give(Order order);
  void AwaitPause();
  // False: there may be more.
  bool AcceptBatch(size_t listener);
  void BackOff(const std::string& why);

  const std::vector<Listener> listeners_;
  const Callbacks callbacks_;
  UniqueFd wake_;  // eventfd

  mutable std::mutex mutex_;
  std::condition_variable obeyed_;
  Order order_ = Order::kPause;
  Order state_ = Order::kPause;  // what the thread is doing
  // Only the thread uses these.
  bool backing_off_ = false;  // leaves the queues alone for a moment
  bool starved_ = false;      // warned, and the queue was not seen empty since
  std::thread thread_;
};

}  // namespace lastcall
