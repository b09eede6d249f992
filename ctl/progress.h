// What is shown while lastcallctl waits for the end of a shutdown.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "lastcall/admin/v1/admin.pb.h"
#include "live_lines.h"
#include "text.h"

namespace lastcall {

// The stage with the time left of it, one line for each server with calls in flight, then the calls
// that have been there longest.
std::vector<std::string> ProgressLines(admin::v1::Status status, const Look& look);

// The same in one line: "grace: 18.8s left, 23.8s at most in all; 3 in flight (public 3)".
std::string ProgressLine(admin::v1::Status status);

// On a terminal the lines are redrawn in place; elsewhere there is one line for each stage.
class Progress {
 public:
  Progress(std::ostream& out, const Look& look, bool live)
      : out_(out), lines_(out), look_(look), live_(live) {}

  // What is not about stopping yet is passed over.
  void Show(const admin::v1::Status& status);
  // Takes the redrawn lines away.
  void Clear() { lines_.Clear(); }

 private:
  std::ostream& out_;
  LiveLines lines_;
  Look look_;
  bool live_;
  v1::Stage stage_ = v1::STAGE_UNSPECIFIED;
};

}  // namespace lastcall
