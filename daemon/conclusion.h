// Conclusion: the last that a daemon does, each within its time: the receipt is logged, kept and told,
// then everybody has a last answer, then the admin socket closes.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "daemon/admin/door.h"
#include "daemon/receipt_file.h"
#include "daemon/reload/readings.h"

#include <lastcall/event/end_in_time.h>
#include <lastcall/lifecycle/receipt.h>
#include <lastcall/systemd/notify.h>

namespace lastcall {

// Threads: the loop's.
class Conclusion {
 public:
  // How long the disk may take to take the receipt, and how long its file may take to get its name.
  static constexpr Duration kReceiptPatience = std::chrono::seconds(2);
  static constexpr Duration kPublishPatience = std::chrono::milliseconds(500);
  // What ends by itself once it is over.
  static constexpr Duration kLastMoment = std::chrono::seconds(1);
  // How long all of it may take; then the process ends with what was said.
  static constexpr Duration kLongest = kReceiptPatience + kPublishPatience +
                                       AdminDoor::Timing().patience + AdminDoor::Timing().cancel +
                                       kLastMoment;

  struct Parts {
    Executor loop;
    const Clock& clock;
    Log log;
    AdminDoor& door;
    OffloadedReadings& readings;
    EndInTime& end_in_time;
    const SystemdNotifier& systemd;
    ReceiptDisk disk = ReceiptDisk::Real();
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
  // The daemon cannot go on.
  void GiveUp(int exit_code);
  int exit_code() const { return exit_code_; }

 private:
  void Publish(const Receipt& receipt, const std::string& directory,
               std::shared_ptr<const std::atomic<bool>> written);
  void Tell(const Receipt& receipt, const Result<>& kept);
  void Close();

  const Parts parts_;
  bool told_ = false;  // nothing is left but to close
  int exit_code_ = 0;
};

}  // namespace lastcall
