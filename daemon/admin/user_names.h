// The names of users, for messages: from a name service that may be slow, or never answer.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>

#include <lastcall/base/clock.h>

namespace lastcall {

// A message is as good with a number, and must not wait for a directory that is away. So one thread
// asks, whoever needs a name waits for a moment, and what was learned is kept for a while.
//
// Threads: any. The thread that asks belongs to nobody, for a name service cannot be told to stop.
class UserNames {
 public:
  // How long an answer is waited for, and how long it is believed, where there was one or none.
  static constexpr Duration kPatience = std::chrono::milliseconds(200);
  static constexpr Duration kFresh = std::chrono::minutes(1);
  // Users that are remembered.
  static constexpr size_t kMost = 256;

  // `look_up` blocks for as long as it likes; empty: there is no such user.
  explicit UserNames(std::function<std::string(uid_t)> look_up);
  ~UserNames();

  // Empty: it has none, or it is not known in time. Blocks: for kPatience at most, and not at all
  // while the service is known not to answer.
  std::string Of(uid_t uid);

 private:
  struct Asked;

  const std::shared_ptr<Asked> asked_;
};

}  // namespace lastcall
