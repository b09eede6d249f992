// Calls of the admin socket that wait: watches, and changes until they are over. Each keeps a
// thread for as long as it waits.
#pragma once

#include <sys/types.h>

#include <map>
#include <mutex>
#include <utility>

#include <lastcall/base/result.h>

namespace lastcall {

// So many of one user, and so many of all together: the rest of the threads is for calls that are
// answered immediately.
//
// Threads: any.
class WaitingCalls {
 public:
  struct Limits {
    int of_user;
    int of_all;
  };

  explicit WaitingCalls(Limits limits) : limits_(limits) {}

  // Of one call, until it ends.
  class Place {
   public:
    Place(Place&& other) noexcept : of_(std::exchange(other.of_, nullptr)), uid_(other.uid_) {}
    Place& operator=(Place&&) = delete;
    ~Place();

   private:
    friend class WaitingCalls;
    Place(WaitingCalls& of, uid_t uid) : of_(&of), uid_(uid) {}

    WaitingCalls* of_;
    uid_t uid_;
  };

  // Fails: kResourceExhausted, with whose they are and what to do.
  Result<Place> Enter(uid_t uid);

 private:
  void Leave(uid_t uid);

  const Limits limits_;
  std::mutex mutex_;
  std::map<uid_t, int> of_user_;  // without those who have none
  int all_ = 0;
};

}  // namespace lastcall
