// Accepts connections on listening sockets that may be shared with other processes.
#pragma once

#include <poll.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <lastcall/base/clock.h>
#include <lastcall/base/unique_fd.h>
#include <lastcall/net/listener.h>

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

  // How long those who wait in the queues are still let in at a last call. In time and not in
  // number: clients that connect and close in a loop would refill the queues forever.
  static constexpr Duration kLastCall = std::chrono::milliseconds(50);

  Acceptor(std::vector<Listener> listeners, Callbacks callbacks, const Clock& clock);
  // Blocks: until the thread has ended, which is in the middle of one `accepted` at most.
  ~Acceptor();

  // Threads: any, for all of these. Once Pause has returned, `accepted` is not running and will not
  // be called. Blocks: Pause, while `accepted` runs. Order: no effect after BeginEnd, but that a
  // Pause cuts a last call short.
  void Resume();
  void Pause();
  bool accepting() const;

  // Ends it for good. With `last_call`, and where it was accepting, those who wait in the queues
  // come in first, for kLastCall at most. Then the listening sockets go; other processes' copies of
  // them live on, but of our own (Listener::own), and of those whose addresses are `unserved`:
  // nobody will accept there any more. Those have a last call in any case, then newcomers are refused
  // (Listener::EndListening). Does not block.
  void BeginEnd(bool last_call, const std::set<std::string>& unserved = {});
  // Blocks: until `accepted` will not be called any more, and the sockets are gone. Order: after
  // BeginEnd.
  void AwaitEnd();
  bool ended() const;

 private:
  // In this order: from kLastCall on there is no way back.
  enum class Order { kPause, kAccept, kLastCall, kEnd };
  // What becomes of a listening socket at the end.
  struct End {
    bool last_call = false;
    bool refuse = false;  // nobody is behind it any more
  };

  void Run();
  void Give(Order order);
  void Set(Order order);
  void Await(Order order);
  Order Obey();
  void AcceptLast();
  void AcceptWaiting(const std::vector<pollfd>& queues, Instant by);
  void Close();
  bool AwaitHandshakes(std::vector<pollfd>& queues);
  void NoteHandshake(int connection);
  // False: there may be more. Gives up when `order` does not hold any more, and at `by`.
  bool AcceptBatch(size_t listener, Order order, Instant by);
  void BackOff(const std::string& why);

  std::vector<Listener> listeners_;  // the thread's
  const Callbacks callbacks_;
  const Clock& clock_;
  UniqueFd wake_;  // eventfd

  mutable std::mutex mutex_;
  std::condition_variable obeyed_;
  std::atomic<Order> order_ = Order::kPause;  // changes under the mutex alone
  Order state_ = Order::kPause;               // what the thread is doing
  std::vector<End> ends_;                     // of each listener; not changed from kLastCall on
  // Only the thread uses these.
  bool backing_off_ = false;  // leaves the queues alone for a moment
  Instant last_accepted_{};   // when somebody came last
  Duration handshake_{};      // the longest of those who came lately
  bool starved_ = false;      // warned, and the queue was not seen empty since
  std::thread thread_;
};

}  // namespace lastcall
