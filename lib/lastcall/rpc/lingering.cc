#include "lastcall/rpc/lingering.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

namespace lastcall {
namespace {

// How long after the last word our side of a connection is shut: a client that has read everything
// closes by itself before, and one that owes the answer to a PING sends it (nginx takes a complete
// response for broken where the end comes first).
constexpr Duration kBeforeFin = std::chrono::milliseconds(20);

// How long a client has to close its side after it was told everything.
constexpr auto kLongest = std::chrono::seconds(1);

// Who lingers in this process. Global, for the definitions at the end of this file are the process's.
constinit std::atomic<int> lingering{0};
// Whose they are: a forked child that closes its copies must not touch the parent's connections.
constinit std::atomic<pid_t> owner{0};

struct Directory {
  std::mutex mutex;
  std::vector<Lingering*> all;
};

// Never destroyed: descriptors are closed until the very end.
Directory& OfProcess() {
  static auto* const directory = new Directory;
  return *directory;
}

template <class F>
bool AnyLingering(F takes) {
  if (lingering.load(std::memory_order_acquire) == 0 || owner.load() != getpid()) return false;
  // close(2) may be called by handlers of signals, and leaves errno alone when it succeeds.
  const int error = errno;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  bool taken = false;
  {
    Directory& directory = OfProcess();
    std::lock_guard lock(directory.mutex);
    taken = std::any_of(directory.all.begin(), directory.all.end(), takes);
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = error;
  return taken;
}

int RawClose(int fd) { return static_cast<int>(syscall(SYS_close, fd)); }
int RawShutdown(int fd, int how) { return static_cast<int>(syscall(SYS_shutdown, fd, how)); }

// The epoll instances of this process, gRPC's among them.
std::vector<int> EpollInstances() {
  std::vector<int> found;
  DIR* const directory = opendir("/proc/self/fd");
  if (directory == nullptr) return found;
  while (const dirent* const entry = readdir(directory)) {
    std::array<char, 64> target;
    const ssize_t size = readlinkat(dirfd(directory), entry->d_name, target.data(), target.size());
    if (size > 0 &&
        std::string_view(target.data(), static_cast<size_t>(size)) == "anon_inode:[eventpoll]") {
      found.push_back(std::atoi(entry->d_name));
    }
  }
  closedir(directory);
  return found;
}

// A file of proc(5), which is written anew for who reads it from its start.
std::string ReadFromStart(int fd) {
  std::string text;
  std::array<char, 4096> some;
  ssize_t got = lseek(fd, 0, SEEK_SET);
  while (got >= 0 && (got = read(fd, some.data(), some.size())) > 0) {
    text.append(some.data(), static_cast<size_t>(got));
  }
  return text;
}

// Reads what there is and drops it, not forever. False: there will be no more.
bool Drop(int fd) {
  std::array<char, 65536> dropped;
  for (int rounds = 0; rounds < 16; ++rounds) {
    const ssize_t got = recv(fd, dropped.data(), dropped.size(), MSG_DONTWAIT);
    if (got > 0) continue;
    return got < 0 && (errno == EAGAIN || errno == EINTR);
  }
  return true;
}

}  // namespace

bool Lingering::Works() {
  return dlsym(RTLD_DEFAULT, "close") == reinterpret_cast<void*>(&::close) &&
         dlsym(RTLD_DEFAULT, "shutdown") == reinterpret_cast<void*>(&::shutdown);
}

// The instances that are new. They are looked for early, when descriptors are left to do so, and once
// more, as far as they are.
void Lingering::FindEpolls() {
  for (const int fd : EpollInstances()) {
    const auto known = [fd](const Epoll& epoll) { return epoll.fd == fd; };
    if (std::any_of(epolls_.begin(), epolls_.end(), known)) continue;
    const std::string info = "/proc/self/fdinfo/" + std::to_string(fd);
    epolls_.push_back({fd, UniqueFd(open(info.c_str(), O_RDONLY | O_CLOEXEC))});
  }
}

// The kernel tells it in proc(5) alone.
void Lingering::AddRegistrations(const Epoll& epoll, std::vector<Registration>& registrations) {
  std::istringstream told(ReadFromStart(epoll.info.get()));
  for (std::string line; std::getline(told, line);) {
    int fd = -1;
    unsigned int events = 0;
    unsigned long long data = 0;
    if (std::sscanf(line.c_str(), "tfd: %d events: %x data: %llx", &fd, &events, &data) != 3) {
      continue;
    }
    epoll_event event{};
    event.events = events;
    event.data.u64 = data;
    registrations.push_back({epoll.fd, fd, event});
  }
}

Lingering::Lingering(Connections& connections, std::function<void()> closed)
    : connections_(connections),
      closed_(std::move(closed)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      longest_(kLongest),
      thread_([this] { Run(); }) {
  FindEpolls();
}

void Lingering::Begin() {
  if (begun_) return;
  FindEpolls();
  begun_ = true;
  Directory& directory = OfProcess();
  std::lock_guard lock(directory.mutex);
  directory.all.push_back(this);
  owner = getpid();
  ++lingering;
}

Lingering::~Lingering() {
  if (begun_) {
    Directory& directory = OfProcess();
    std::lock_guard lock(directory.mutex);
    std::erase(directory.all, this);
    --lingering;
  }
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
  }
  eventfd_write(wake_.get(), 1);
  thread_.join();
}

void Lingering::Limit(Duration longest, ConnectionSink heir) {
  std::lock_guard lock(mutex_);
  longest_ = longest;
  heir_ = std::move(heir);
}

// Writing goes on: what is said last is to go out. Under the lock no connection is closed, and so no
// number used again.
void Lingering::Mute() {
  std::vector<Registration> registrations;
  for (const Epoll& epoll : epolls_) AddRegistrations(epoll, registrations);
  std::lock_guard lock(mutex_);
  for (const Registration& each : registrations) {
    if (!connections_.Has(each.fd)) continue;
    epoll_event muted = each.event;
    muted.events &= ~static_cast<uint32_t>(EPOLLIN | EPOLLPRI | EPOLLRDHUP);
    if (epoll_ctl(each.epoll, EPOLL_CTL_MOD, each.fd, &muted) == 0) muted_.push_back(each);
  }
}

void Lingering::Unmute() {
  std::lock_guard lock(mutex_);
  for (Registration& each : std::exchange(muted_, {})) {
    if (connections_.Has(each.fd)) epoll_ctl(each.epoll, EPOLL_CTL_MOD, each.fd, &each.event);
  }
}

bool Lingering::Shutdown(int fd) { return connections_.Has(fd); }

bool Lingering::Close(int fd) {
  {
    std::lock_guard lock(mutex_);
    if (!connections_.Forget(fd)) return false;
    // gRPC reuses its record of a descriptor that it has closed, so no event may reach it any more.
    for (const Epoll& epoll : epolls_) epoll_ctl(epoll.fd, EPOLL_CTL_DEL, fd, nullptr);
    const Instant now = std::chrono::steady_clock::now();
    const Instant until = After(now, longest_);
    arrived_.push_back({UniqueFd(fd), until, std::min(until, After(now, kBeforeFin))});
  }
  eventfd_write(wake_.get(), 1);
  closed_();
  return true;
}

void Lingering::Run() {
  std::vector<Guest> guests;
  for (;;) {
    {
      std::lock_guard lock(mutex_);
      std::move(arrived_.begin(), arrived_.end(), std::back_inserter(guests));
      arrived_.clear();
      if (ending_ && guests.empty()) return;
    }
    const Instant now = std::chrono::steady_clock::now();
    std::erase_if(guests, [](const Guest& guest) { return !Drop(guest.fd.get()); });
    for (Guest& guest : guests) {
      if (guest.fin_at > now) continue;
      RawShutdown(guest.fd.get(), SHUT_WR);
      guest.fin_at = kNever;
    }
    PassOn(guests, now);
    Instant next = kNever;
    std::vector<pollfd> watched{{wake_.get(), POLLIN, 0}};
    for (const Guest& guest : guests) {
      watched.push_back({guest.fd.get(), POLLIN, 0});
      next = std::min({next, guest.until, guest.fin_at});
    }
    {
      std::lock_guard lock(mutex_);
      if (ending_ && guests.empty() && arrived_.empty()) return;
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - now).count();
    poll(watched.data(), watched.size(), next == kNever ? -1 : static_cast<int>(left));
    eventfd_t ignored;
    eventfd_read(wake_.get(), &ignored);
  }
}

// Those whose time here is over.
void Lingering::PassOn(std::vector<Guest>& guests, Instant now) {
  std::vector<UniqueFd> overdue;
  for (Guest& guest : guests) {
    if (guest.until <= now) overdue.push_back(std::move(guest.fd));
  }
  if (overdue.empty()) return;
  std::erase_if(guests, [](const Guest& guest) { return !guest.fd; });
  ConnectionSink heir;
  {
    std::lock_guard lock(mutex_);
    heir = heir_;
  }
  if (heir) heir(std::move(overdue));
}

}  // namespace lastcall

// Weak, so that a program which has its own keeps it; Lingering::Works tells.
extern "C" {

__attribute__((weak, visibility("default"))) int close(int fd) {
  const auto takes = [fd](lastcall::Lingering* each) { return each->Close(fd); };
  return lastcall::AnyLingering(takes) ? 0 : lastcall::RawClose(fd);
}

__attribute__((weak, visibility("default"))) int shutdown(int fd, int how) noexcept {
  const auto takes = [fd](lastcall::Lingering* each) { return each->Shutdown(fd); };
  const bool taken = how == SHUT_RDWR && lastcall::AnyLingering(takes);
  return taken ? 0 : lastcall::RawShutdown(fd, how);
}
}
