// The receipt of the last shutdown, kept in state_dir.
#pragma once

#include <string>

#include <lastcall/base/result.h>

namespace lastcall {

// Why receipts will not be kept there, as far as can be known before; empty: nothing speaks against
// it. A directory that is not there yet is made when it is needed.
std::string ReceiptWarning(const std::string& state_dir);

// Writes `text` to receipt.json. An older one stays until the new one is complete. Blocks: writes a
// file. Fails: with path, reason and remedy; the directory is as it was.
Result<> WriteReceipt(const std::string& state_dir, const std::string& text);

}  // namespace lastcall
