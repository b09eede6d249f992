// What the tests of listening sockets share.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include <lastcall/net/listener.h>

namespace lastcall {

inline Address Parse(const std::string& text) {
  const auto address = Address::Parse(text);
  if (!address) ADD_FAILURE() << address.error().message;
  return address.value_or(Address());
}

inline int Option(int fd, int level, int name) {
  int value = -1;
  socklen_t size = sizeof(value);
  getsockopt(fd, level, name, &value, &size);
  return value;
}

// While it lives, root is nobody; any other user is what it was.
class Unprivileged {
 public:
  Unprivileged() {
    constexpr uid_t kNobody = 65534;
    if (before_ == 0 && seteuid(kNobody) != 0) ADD_FAILURE() << "cannot become nobody";
  }
  Unprivileged(const Unprivileged&) = delete;
  Unprivileged& operator=(const Unprivileged&) = delete;
  ~Unprivileged() {
    if (seteuid(before_) != 0) ADD_FAILURE() << "cannot become root again";
  }

 private:
  const uid_t before_ = geteuid();
};

inline std::string OwnName() { return "(pid " + std::to_string(getpid()) + ")"; }

}  // namespace lastcall
