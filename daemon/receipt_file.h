// The receipt of the last shutdown, kept in state_dir.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <functional>
#include <memory>
#include <string>

#include <lastcall/base/clock.h>
#include <lastcall/base/result.h>

namespace lastcall {

// Why receipts will not be kept there, as far as can be known before; empty: nothing speaks against
// it. A folder that is not there yet is made when it is needed.
std::string ReceiptWarning(const std::string& state_dir);

// Writes `text` to receipt.json. An older one stays until the new one is complete. Blocks: writes a
// file. Fails: with path, reason and remedy; the folder is as it was.
Result<> WriteReceipt(const std::string& state_dir, const std::string& text);

// WriteReceipt for a loop that must not wait for a file system that is gone. Threads: the loop's.
class ReceiptFile {
 public:
  explicit ReceiptFile(boost::asio::io_context& loop) : loop_(loop), patience_(loop) {}
  ~ReceiptFile();
  ReceiptFile(const ReceiptFile&) = delete;
  ReceiptFile& operator=(const ReceiptFile&) = delete;

  // `done` runs in the loop, later. Fails: as WriteReceipt; kDeadlineExceeded, it took longer than
  // `limit`, and its thread is left behind. Order: once.
  void BeginWrite(const std::string& state_dir, const std::string& text, Duration limit,
                  std::function<void(const Result<>&)> done);

 private:
  struct Writing;

  boost::asio::io_context& loop_;
  boost::asio::steady_timer patience_;
  std::shared_ptr<Writing> writing_;
};

}  // namespace lastcall
