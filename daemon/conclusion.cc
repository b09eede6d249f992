#include "daemon/conclusion.h"

#include <utility>

#include "daemon/receipt_file.h"
#include "wire/convert.h"

namespace lastcall {

void Conclusion::Begin(const Receipt& receipt, const std::string& directory) {
  exit_code_ = receipt.exit_code;
  // First of all: whatever is written or told from here on may hang.
  parts_.end_in_time.Arm(After(parts_.clock.Now(), kLongest), exit_code_);
  parts_.log(receipt.exit_code == 0 ? LogLevel::kInfo : LogLevel::kWarning, receipt.Outcome());
  parts_.log(LogLevel::kInfo, "receipt: " + receipt.ToJson());
  parts_.systemd.Status(receipt.Outcome());
  // Who is told the receipt may look for the file, so that one is first; not for longer than a file
  // system has to answer.
  parts_.readings.Begin<Result<>>(
      After(parts_.clock.Now(), kReceiptPatience),
      [directory, text = receipt.ToJson() + "\n"](const std::stop_token&) {
        return WriteReceipt(directory, text);
      },
      [this, receipt, directory](const Result<Result<>>& kept) {
        Tell(receipt, kept ? *kept
                           : Fail(kept.error().code, "cannot keep the receipt in " + directory +
                                                         "/receipt.json: " + kept.error().message));
      });
}

void Conclusion::Tell(const Receipt& receipt, const Result<>& kept) {
  if (!kept) parts_.log(LogLevel::kWarning, kept.error().message + "; it is in the log");
  parts_.kept();
  admin::v1::ReceiptEvent event;
  *event.mutable_receipt() = ToProto(receipt);
  event.set_json(receipt.ToJson());
  parts_.door.hub().Close(std::move(event));
  told_ = true;
  parts_.loop([this] {
    if (parts_.has_door()) Close();
  });
}

void Conclusion::GoOn() {
  if (told_) Close();
}

void Conclusion::Close() { parts_.door.BeginClose(parts_.over); }

}  // namespace lastcall
