#include <sys/epoll.h>

#include <vector>

#include "event.h"
#include "waiters.h"

namespace wake {
namespace {

using lastcall::UniqueFd;

// A thread that waits in one epoll until each of the registrations was reported.
class Loop {
 public:
  // Returns when the thread is about to sleep.
  void Start(int fd, int count) {
    epoll_.Reset(epoll_create1(EPOLL_CLOEXEC));
    for (int i = 0; i < count; ++i) {
      copies_.emplace_back(dup(fd));
      epoll_event interest{};
      interest.events = EPOLLIN | EPOLLET;
      interest.data.u32 = static_cast<uint32_t>(i);
      if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, copies_.back().get(), &interest) != 0) abort();
    }
    thread_ = std::thread([this] { Run(); });
    usleep(3000);
  }
  ~Loop() {
    if (thread_.joinable()) thread_.join();
  }
  lastcall::Instant WaitForLast() {
    all_.Wait();
    return last_;
  }

 private:
  void Run() {
    std::vector<epoll_event> events(copies_.size());
    std::vector<bool> seen(copies_.size());
    size_t left = copies_.size();
    while (left > 0) {
      const int ready =
          epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
      for (int i = 0; i < ready; ++i) {
        auto one = seen[events[static_cast<size_t>(i)].data.u32];
        if (!one) --left;
        one = true;
      }
    }
    last_ = Now();
    all_.Set();
  }

  UniqueFd epoll_;
  std::vector<UniqueFd> copies_;
  Word all_;
  lastcall::Instant last_{};
  std::thread thread_;
};

class OurEpoll final : public Waiters {
 public:
  OurEpoll(int count, From from) : event_(from) {
    loop_.Start(event_.view().fd(lastcall::Stage::kDelay), count);
  }
  void Trigger() override { event_.Trigger(); }
  lastcall::Instant WaitForLast() override { return loop_.WaitForLast(); }

 private:
  OurEvent event_;
  Loop loop_;
};

class BareEpoll final : public Waiters {
 public:
  BareEpoll(int count, From from)
      : fd_(eventfd(0, EFD_CLOEXEC)), event_(from, [this] { eventfd_write(fd_.get(), 1); }) {
    loop_.Start(fd_.get(), count);
  }
  void Trigger() override { event_.Trigger(); }
  lastcall::Instant WaitForLast() override { return loop_.WaitForLast(); }

 private:
  UniqueFd fd_;
  BareEvent event_;
  Loop loop_;
};

}  // namespace

Scenario Epoll(int count, From from) {
  return {"epoll registrations", count, from,
          [=] { return std::make_unique<OurEpoll>(count, from); },
          [=] { return std::make_unique<BareEpoll>(count, from); }};
}

}  // namespace wake
