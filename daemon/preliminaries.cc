#include "daemon/preliminaries.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <iostream>

#include <lastcall/signals/signals.h>
#include <lastcall/signals/table.h>

namespace lastcall {
namespace {

constexpr int kSignalled = 128;  // as shells say it

// But SIGUSR1, which asks about a daemon, and finds one later.
sigset_t Asking() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGQUIT, SIGHUP}) sigaddset(&set, signal);
  return set;
}

bool AsksForTheEnd(const siginfo_t& info) {
  return info.si_signo != SIGHUP || info.si_code == SI_KERNEL;
}

}  // namespace

Preliminaries::Preliminaries(Duration patience)
    : patience_(patience),
      posted_(eventfd(0, EFD_CLOEXEC)),
      offload_(
          [this](Callback run) {
            inbox_.Post(std::move(run));
            eventfd_write(posted_.get(), 1);
          },
          1) {
  const sigset_t set = Asking();
  pending_.Reset(signalfd(-1, &set, SFD_CLOEXEC));
  if (!pending_ || !posted_) throw std::runtime_error("no descriptor is left to hear signals by");
}

// The kernel lets a process say of a signal to itself who had sent it.
Preliminaries::~Preliminaries() {
  for (siginfo_t& info : heard_) syscall(SYS_rt_sigqueueinfo, getpid(), info.si_signo, &info);
}

// False: it is over.
bool Preliminaries::WaitUntil(Instant by) {
  const int wait = Deadline(by).PollTimeout(clock_.Now());
  if (wait == 0) return false;
  std::array<pollfd, 2> events{{{pending_.get(), POLLIN, 0}, {posted_.get(), POLLIN, 0}}};
  if (poll(events.data(), events.size(), wait) <= 0) return true;
  if (events[0].revents != 0) Hear();
  if (events[1].revents == 0) return true;
  eventfd_t ignored = 0;
  eventfd_read(posted_.get(), &ignored);
  while (const auto run = inbox_.TakeUntil(Instant())) (*run)();
  return true;
}

void Preliminaries::Hear() {
  const sigset_t set = Asking();
  const timespec now{};
  siginfo_t info{};
  if (sigtimedwait(&set, &info, &now) < 0) return;
  heard_.push_back(info);
  if (!AsksForTheEnd(info)) return;
  end_ = end_ == kNever ? After(clock_.Now(), patience_) : clock_.Now();
}

void Preliminaries::Stop() {
  const siginfo_t& info = *std::ranges::find_if(heard_, AsksForTheEnd);
  const Request request = RequestOf({.number = info.si_signo,
                                     .pid = info.si_pid,
                                     .uid = info.si_uid,
                                     .code = info.si_code,
                                     .at = clock_.Now(),
                                     .wall = clock_.Wall()},
                                    SignalAction::kShutdown);
  std::cerr << "lastcalld: " << Describe(request.cause) << ": stopped before anything was started\n"
            << std::flush;
  // A thread may still read; what it uses is not destroyed under it.
  _exit(0);
}

void Preliminaries::EndByItsSignal() {
  const int number = std::ranges::find_if(heard_, AsksForTheEnd)->si_signo;
  std::cout << std::flush;
  std::signal(number, SIG_DFL);
  UnblockSignals();
  raise(number);
  _exit(kSignalled + number);  // as PID 1 of a container, which signals do not end by default
}

}  // namespace lastcall
