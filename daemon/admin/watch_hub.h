// What the watchers of the admin service see: the newest status of each stage, then the receipt, then
// the end.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <stop_token>

#include "lastcall/admin/v1/admin.pb.h"

namespace lastcall {

// Threads: any.
class WatchHub {
 public:
  void Publish(admin::v1::Status status);
  // The last word.
  void Close(admin::v1::ReceiptEvent receipt);
  // Sends the watchers away, to come again; until Reopen, also those that come now.
  void HandOver();
  void Reopen();

  bool HasWatchers() const;

  // One watcher's view. A slow one skips what was overtaken in the same stage; it misses no stage, nor
  // the newest status, nor the receipt.
  class Watcher {
   public:
    explicit Watcher(WatchHub& hub);
    ~Watcher();
    // Blocks: until there is something new. Empty: nothing will come, or `stop` was requested.
    std::optional<admin::v1::WatchResponse> Next(std::stop_token stop);

   private:
    WatchHub& hub_;
    uint64_t seen_ = 0;
    bool told_receipt_ = false;
    bool told_handover_ = false;
  };

 private:
  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  struct Version {
    uint64_t number;
    admin::v1::Status status;
  };
  uint64_t version_ = 0;          // the newest
  std::deque<Version> statuses_;  // the newest of each stage, in order
  std::optional<admin::v1::ReceiptEvent> receipt_;
  bool handing_over_ = false;
  int watchers_ = 0;
};

}  // namespace lastcall
