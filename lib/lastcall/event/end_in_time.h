// EndInTime: the last resort of a process that must have ended at an instant, whatever hangs.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include <lastcall/base/clock.h>

namespace lastcall {

// Its thread is made in the constructor, for at the end there may be none left, and does nothing
// before it ends the process: no log, no file.
// Threads: any.
class EndInTime {
 public:
  EndInTime();
  // The process lives on.
  ~EndInTime();

  // From here on the process ends by _exit(code) should this still exist at `by`. Of several
  // instants the nearest counts, with its code. Order: before anything is said or written at the
  // end.
  void Arm(Instant by, int code);
  // Nothing of it counts any more.
  void Disarm();

 private:
  void Watch();

  std::mutex mutex_;
  std::condition_variable changed_;
  Instant by_ = kNever;  // guarded by mutex_, like the rest
  int code_ = 0;
  bool over_ = false;
  std::thread thread_;
};

}  // namespace lastcall
