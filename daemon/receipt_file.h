// The receipt of the last shutdown, kept in state_dir.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <string>

#include <lastcall/base/result.h>

namespace lastcall {

// Why receipts will not be kept there, as far as can be known before; empty: nothing speaks against
// it. A directory that is not there yet is made when it is needed.
std::string ReceiptWarning(const std::string& state_dir);

// What is asked of the file system; each as in POSIX.
struct ReceiptDisk {
  std::function<ssize_t(int, const void*, size_t)> write;
  std::function<int(int)> sync;
  std::function<int(const char*, const char*)> rename;

  static ReceiptDisk Real();
};

// Writes `text` to receipt.json. An older one stays until the new one is complete and on the disk:
// whatever happens, a power cut too, one of the two is there and whole. `written` is set when it is
// complete, and only the disk is waited for; taken back where that fails. Blocks: writes a file.
// Fails: with path, reason and remedy; the directory is as it was.
Result<> WriteReceipt(const std::string& state_dir, const std::string& text,
                      const ReceiptDisk& disk = ReceiptDisk::Real(),
                      std::atomic<bool>* written = nullptr);
// For one that waits too long for the disk: what is written takes the place of the older one. Only a
// power cut can take both. Blocks, fails: as WriteReceipt. Threads: beside it.
Result<> PublishReceipt(const std::string& state_dir, const std::atomic<bool>& written);

}  // namespace lastcall
