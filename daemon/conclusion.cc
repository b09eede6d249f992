#include "daemon/conclusion.h"

#include <utility>

#include "daemon/receipt_file.h"
#include "wire/convert.h"

namespace lastcall {
namespace {

Result<> Late(const std::string& directory, const Error& why) {
  return Fail(why.code,
              "cannot keep the receipt in " + directory + "/receipt.json: " + why.message);
}

}  // namespace

void Conclusion::Begin(const Receipt& receipt, const std::string& directory) {
  exit_code_ = receipt.exit_code;
  // First of all: whatever is written or told from here on may hang.
  parts_.end_in_time.Arm(After(parts_.clock.Now(), kLongest), exit_code_);
  parts_.log(receipt.exit_code == 0 ? LogLevel::kInfo : LogLevel::kWarning, receipt.Outcome());
  parts_.log(LogLevel::kInfo, "receipt: " + receipt.ToJson());
  parts_.systemd.Status(receipt.Outcome());
  // Who is told the receipt may look for the file, so that one is first; not for longer than a file
  // system has to answer.
  const auto written = std::make_shared<std::atomic<bool>>(false);
  parts_.readings.Begin<Result<>>(
      After(parts_.clock.Now(), kReceiptPatience),
      [directory, written, disk = parts_.disk, text = receipt.ToJson() + "\n"](
          const std::stop_token&) { return WriteReceipt(directory, text, disk, written.get()); },
      [this, receipt, directory, written](const Result<Result<>>& kept) {
        if (!kept && written->load()) return Publish(receipt, directory, written);
        Tell(receipt, kept ? *kept : Late(directory, kept.error()));
      });
}

void Conclusion::Publish(const Receipt& receipt, const std::string& directory,
                         std::shared_ptr<const std::atomic<bool>> written) {
  parts_.log(LogLevel::kWarning,
             "the disk of " + directory + " takes its time; a power cut now may lose the receipt");
  parts_.readings.Begin<Result<>>(
      After(parts_.clock.Now(), kPublishPatience),
      [directory, written = std::move(written)](const std::stop_token&) {
        return PublishReceipt(directory, *written);
      },
      [this, receipt, directory](const Result<Result<>>& kept) {
        Tell(receipt, kept ? *kept : Late(directory, kept.error()));
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

void Conclusion::GiveUp(int exit_code) {
  if (exit_code_ == 0) exit_code_ = exit_code;
  parts_.over();
}

void Conclusion::Close() { parts_.door.BeginClose(parts_.over); }

}  // namespace lastcall
