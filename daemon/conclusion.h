// Conclusion: the last that a daemon does, each within its time: the receipt is logged, kept and told,
// then everybody has a last answer, then the admin socket closes.
#pragma once

#include <functional>
#include <string>

#include "daemon/admin/door.h"
#include "daemon/reload/readings.h"

#include <lastcall/event/end_in_time.h>
#include <lastcall/lifecycle/receipt.h>
#include <lastcall/systemd/notify.h>

namespace lastcall {

// Threads: the loop's.
class Conclusion {
 public:
  // How long a file system may take to take the receipt.
  static constexpr Duration kReceiptPatience = std::chrono::seconds(2);
  // How long all of it may take; then the process ends with what was said.
  static constexpr Duration kLongest = std::chrono::seconds(6);

  struct Parts {
    Executor loop;
    const Clock& clock;
    Log log;
    AdminDoor& door;
    OffloadedReadings& readings;
    EndInTime& end_in_time;
    const SystemdNotifier& systemd;
    // Whether the door is this daemon's to close: not while another build is about to take over.
    std::function<bool()> has_door;
    // The receipt is kept: nothing more is promised.
    std::function<void()> kept;
    std::function<void()> over;
  };
  explicit Conclusion(Parts parts) : parts_(std::move(parts)) {}

  // `directory`: where the receipt is kept.
  void Begin(const Receipt& receipt, const std::string& directory);
  // The door is this daemon's again.
  void GoOn();
  int exit_code() const { return exit_code_; }

 private:
  void Tell(const Receipt& receipt, const Result<>& kept);
  void Close();

  const Parts parts_;
  bool told_ = false;  // nothing is left but to close
  int exit_code_ = 0;
};

}  // namespace lastcall
