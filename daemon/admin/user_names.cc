#include "daemon/admin/user_names.h"

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace lastcall {

// Shared with the thread that asks, which may outlive whoever wanted to know.
struct UserNames::Asked {
  struct Answer {
    std::string name;
    enum { kNew, kAsked, kKnown } state = kNew;
    Instant known_at{};
  };

  explicit Asked(std::function<std::string(uid_t)> how) : look_up(std::move(how)) {}

  const std::function<std::string(uid_t)> look_up;
  std::mutex mutex;
  std::condition_variable answered;
  std::map<uid_t, Answer> answers;
  std::deque<uid_t> open;  // those that are kAsked; the first is in look_up
  bool asking = false;     // there is a thread
  bool silent = false;     // a wait was in vain, and nothing was answered since

  static void Ask(const std::shared_ptr<Asked>& self) {
    std::unique_lock lock(self->mutex);
    while (!self->open.empty()) {
      const uid_t uid = self->open.front();
      lock.unlock();
      std::string name = self->look_up(uid);
      lock.lock();
      self->answers[uid] = {std::move(name), Answer::kKnown, std::chrono::steady_clock::now()};
      self->silent = false;
      self->open.pop_front();
      self->answered.notify_all();
    }
    self->asking = false;
  }
};

UserNames::UserNames(std::function<std::string(uid_t)> look_up)
    : asked_(std::make_shared<Asked>(std::move(look_up))) {}

UserNames::~UserNames() {
  std::lock_guard lock(asked_->mutex);
  if (asked_->open.size() > 1) asked_->open.resize(1);  // the one that is being asked
}

std::string UserNames::Of(uid_t uid) {
  const Instant now = std::chrono::steady_clock::now();
  std::unique_lock lock(asked_->mutex);
  if (asked_->answers.size() >= kMost && !asked_->answers.contains(uid)) {
    if (!asked_->open.empty()) return "";
    asked_->answers.clear();
  }
  Asked::Answer& answer = asked_->answers[uid];  // stays where it is while its question is open
  if (answer.state == Asked::Answer::kKnown && now - answer.known_at < kFresh) return answer.name;
  if (answer.state != Asked::Answer::kAsked) {
    answer.state = Asked::Answer::kAsked;
    asked_->open.push_back(uid);
  }
  if (!asked_->asking) {
    try {
      std::thread([asked = asked_] { Asked::Ask(asked); }).detach();
      asked_->asking = true;
    } catch (const std::system_error&) {
      return answer.name;  // no thread is to be had; the next one tries again
    }
  }
  if (!asked_->silent) {
    asked_->silent = !asked_->answered.wait_until(
        lock, now + kPatience, [&] { return answer.state == Asked::Answer::kKnown; });
  }
  return answer.name;
}

}  // namespace lastcall
