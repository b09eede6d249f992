// A supervisor's observer that remembers what it was told.
#pragma once

#include <vector>

#include <lastcall/supervisor/supervisor.h>

namespace lastcall {

class RecordingObserver final : public SupervisorObserver {
 public:
  void StageEntered(Stage stage) override { stages_.push_back(stage); }
  void ReloadRequested(const Cause&) override { ++reloads_; }
  void DumpRequested() override { ++dumps_; }
  void Changed() override { ++changes_; }
  void Retired(const Receipt& receipt) override { retired_.push_back(receipt); }
  void Finished(const Receipt& receipt) override { receipts_.push_back(receipt); }

  const std::vector<Stage>& stages() const { return stages_; }
  int reloads() const { return reloads_; }
  int dumps() const { return dumps_; }
  int changes() const { return changes_; }
  // One for each retired incarnation that has ended.
  const std::vector<Receipt>& retired() const { return retired_; }
  // One for each time that the supervisor finished, which is once.
  const std::vector<Receipt>& receipts() const { return receipts_; }

 private:
  std::vector<Stage> stages_;
  int reloads_ = 0;
  int dumps_ = 0;
  int changes_ = 0;
  std::vector<Receipt> retired_;
  std::vector<Receipt> receipts_;
};

}  // namespace lastcall
