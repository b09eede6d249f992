#include "daemon/orphans.h"

#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string>
#include <utility>

#include <lastcall/base/result.h>

#include <lastcall/child/spawn.h>

namespace lastcall {
namespace {

sigset_t ChildSignal() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  return set;
}

}  // namespace

void OrphanReaper::PrepareSignal() {
  const sigset_t set = ChildSignal();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  sigaction(SIGCHLD, &standard, nullptr);
}

OrphanReaper::OrphanReaper(boost::asio::io_context& loop, Log log)
    : signals_(loop), log_(std::move(log)) {
  const sigset_t set = ChildSignal();
  const int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd < 0) {
    log_(LogLevel::kWarning,
         "processes that are left to this one stay zombies: no signalfd: " + ErrnoText(errno));
    return;
  }
  signals_.assign(fd);
  Reap();
  Await();
}

void OrphanReaper::Await() {
  signals_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                      [this](const boost::system::error_code& error) {
                        if (error) return;
                        // Several children may be behind one signal.
                        signalfd_siginfo info;
                        while (read(signals_.native_handle(), &info, sizeof(info)) > 0) {
                        }
                        Reap();
                        Await();
                      });
}

void OrphanReaper::Reap() {
  while (const auto pid = ReapOrphan()) {
    log_(LogLevel::kDebug,
         "reaped process " + std::to_string(*pid) + ", which was left to this one");
  }
}

}  // namespace lastcall
