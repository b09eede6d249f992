#include "daemon/admin/waiting_calls.h"

#include <string>

namespace lastcall {

WaitingCalls::Place::~Place() {
  if (of_ != nullptr) of_->Leave(uid_);
}

Result<WaitingCalls::Place> WaitingCalls::Enter(uid_t uid) {
  std::lock_guard lock(mutex_);
  const auto user = of_user_.find(uid);
  const bool too_many = user != of_user_.end() && user->second >= limits_.of_user;
  if (too_many || all_ >= limits_.of_all) {
    return Fail(Code::kResourceExhausted,
                (too_many ? "uid " + std::to_string(uid) + " has " : "there are ") +
                    std::to_string(too_many ? limits_.of_user : limits_.of_all) +
                    " calls that wait (watch, wait, reload, restart), which is the most that there "
                    "may be; end one of them first");
  }
  ++of_user_[uid];
  ++all_;
  return Place(*this, uid);
}

void WaitingCalls::Leave(uid_t uid) {
  std::lock_guard lock(mutex_);
  const auto user = of_user_.find(uid);
  if (--user->second == 0) of_user_.erase(user);
  --all_;
}

}  // namespace lastcall
