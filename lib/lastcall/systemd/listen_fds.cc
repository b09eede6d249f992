#include "lastcall/systemd/listen_fds.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

#include "lastcall/base/safe_text.h"

namespace lastcall {
namespace {

int OptionOf(int fd, int option) {
  int value = 0;
  socklen_t size = sizeof(value);
  return getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 ? value : -1;
}

}  // namespace

ActivationSockets::ActivationSockets() {
  char** names = nullptr;
  const int count = sd_listen_fds_with_names(1, &names);
  for (int i = 0; i < count; ++i) {
    sockets_.emplace(SafeText(names[i], kMaxSafeName), UniqueFd(SD_LISTEN_FDS_START + i));
    std::free(names[i]);
  }
  std::free(names);
}

Result<std::vector<UniqueFd>> ActivationSockets::Named(const std::string& name) {
  const auto [first, last] = sockets_.equal_range(name);
  if (first == last) {
    std::string there;
    for (auto each = sockets_.begin(); each != sockets_.end();
         each = sockets_.upper_bound(each->first)) {
      there += (there.empty() ? "" : ", ") + each->first;
    }
    return Fail(Code::kNotFound,
                there.empty()
                    ? "systemd passed no sockets; start the daemon by a .socket unit with "
                      "FileDescriptorName=" +
                          name + ", or write host:port"
                    : "systemd passed no socket of that name, but: " + there +
                          "; see FileDescriptorName= in the .socket unit");
  }
  std::vector<UniqueFd> copies;
  for (auto each = first; each != last; ++each) {
    const int fd = each->second.get();
    if (OptionOf(fd, SO_TYPE) != SOCK_STREAM || OptionOf(fd, SO_ACCEPTCONN) != 1) {
      return Fail(Code::kInvalidArgument,
                  "the socket that systemd passed does not listen for streams; write ListenStream= "
                  "and Accept=no in the .socket unit");
    }
    // Of the socket itself, whoever holds it: several processes accept from it, and whoever comes
    // too late must not wait.
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    copies.emplace_back(fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!copies.back()) return FailErrno("cannot use the socket that systemd passed", errno);
  }
  used_.insert(name);
  return copies;
}

std::vector<std::string> ActivationSockets::Unused() const {
  std::set<std::string> unused;
  for (const auto& [name, fd] : sockets_) {
    if (!used_.contains(name)) unused.insert(name);
  }
  return {unused.begin(), unused.end()};
}

}  // namespace lastcall
