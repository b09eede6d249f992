// Does what a plugin should not do to the process that it is in: at load (named by the environment's
// LASTCALL_RUDE), in Check, in its constructor, in Stop, when it is called (by its configuration).
#include <fcntl.h>
#include <lastcall/plugin.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <future>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>

#include "rude.grpc.pb.h"

namespace {

// Not UTF-8, what a terminal obeys, and a line that looks like another one of the log.
constexpr char kRubbish[] = "rubbish\xff\x1b[31m\xc2\x9b\nadmin: drain requested by root";

void OnSignal(int) {}

void Unblock() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

void Do(const std::string& what);

void DoInThread(const std::string& what) {
  std::thread([what] { Do(what); }).detach();
}

void UnblockInThread() {
  std::promise<void> done;
  std::thread([&] {
    pthread_setname_np(pthread_self(), "rude-worker");
    Unblock();
    done.set_value();
    for (;;) pause();
  }).detach();
  done.get_future().wait();
}

void Speak(const std::string& what, lastcall::PluginHost& host) {
  if (what == "log rubbish") host.Log(lastcall::LogLevel::kInfo, kRubbish);
  if (what == "throw rubbish") throw std::runtime_error(kRubbish);
  if (what == "ask for rubbish") host.RequestShutdown(kRubbish);
  if (what == "set rubbish") host.SetServing(kRubbish, true);
}

// A field of protobuf that has a length.
std::string Field(char tag, const std::string& value) {
  std::string field(1, tag);
  size_t left = value.size();
  for (; left > 0x7f; left >>= 7) field += static_cast<char>((left & 0x7f) | 0x80);
  return field + static_cast<char>(left) + value;
}

// What a host says of a server with so many methods that it travels in a memfd; again and again, as
// fast as it is taken.
void FloodOf(size_t megabytes) {
  const std::string method = Field('\x3a', Field('\x0a', std::string(100, 'x')));
  std::string methods;
  while (methods.size() < (megabytes << 20)) methods += method;
  const std::string report = Field('\x22', Field('\x1a', methods));
  const int memfd = memfd_create("rude", MFD_ALLOW_SEALING);
  if (write(memfd, report.data(), report.size()) != static_cast<ssize_t>(report.size())) return;
  fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
  char place = 'm';
  iovec part{&place, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  cmsghdr* const rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(rights), &memfd, sizeof(int));
  while (sendmsg(3, &header, MSG_NOSIGNAL) >= 0 || errno != EPIPE) sched_yield();
}

// All those of the family that listen.
void ShutDownListeners(int family) {
  for (int fd = 0; fd < 1000; ++fd) {
    int listens = 0, of = 0;
    socklen_t size = sizeof(int);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || listens == 0) continue;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &of, &size) == 0 && of == family) {
      shutdown(fd, SHUT_RDWR);
    }
  }
}

void Do(const std::string& what) {
  if (!what.empty()) std::fprintf(stderr, "rude: about to %s\n", what.c_str());
  if (what == "abort") std::abort();
  if (what == "crash") std::raise(SIGSEGV);
  if (what == "exit") std::exit(7);
  if (what == "take SIGTERM") std::signal(SIGTERM, &OnSignal);
  if (what == "take SIGSEGV") std::signal(SIGSEGV, &OnSignal);
  if (what == "ignore SIGPIPE not") std::signal(SIGPIPE, SIG_DFL);
  if (what == "unblock") Unblock();
  if (what == "unblock in a thread") UnblockInThread();
  if (what == "flood in a thread") DoInThread("flood");
  if (what == "flood of 60 MB") FloodOf(60);
  if (what == "flood of 3 MB") FloodOf(3);
  if (what == "shut down TCP") ShutDownListeners(AF_INET);
  if (what == "shut down unix") ShutDownListeners(AF_UNIX);
  if (what == "fork" && fork() == 0) {
    for (;;) pause();
  }
  if (what == "leave" && fork() == 0) {
    setsid();
    for (;;) pause();
  }
  if (what == "leave and hang") Do("leave"), Do("hang");
  while (what == "hang") pause();
  while (what == "chatter") std::fputs("rude: and another thing\n", stderr);
  // An empty report, for ever: what a host says to its supervisor.
  while (what == "flood" && write(3, "i\x22\x00", 3) != 0) continue;
  // What a preflight says of its first plugin: that it is being tried.
  while (what == "flood of steps" && write(3, "i\xaa\x01\x00", 4) != 0) continue;
}

std::string AtLoad() {
  const char* what = std::getenv("LASTCALL_RUDE");
  return what != nullptr ? what : "";
}

const bool kDone = (Do(AtLoad()), true);

class Rude final : public lastcall::Plugin, public lastcall::test::Rude::Service {
 public:
  explicit Rude(lastcall::PluginHost& host)
      : in_stop_(host.config().String("stop", "")), when_called_(host.config().String("call", "")) {
    Check(host.config());
    Do(host.config().String("constructor", ""));
    Speak(host.config().String("speak", ""), host);
    if (host.config().Boolean("health", false)) {
      again_ = host.termination().OnReached(lastcall::Stage::kDelay, [&host] {
        host.SetServing(lastcall::test::Rude::service_full_name(), true);
        host.SetServing(lastcall::test::Rude::service_full_name(), true);
      });
    }
  }
  static void Check(const lastcall::PluginConfig& config) {
    Do(config.String("check", ""));
    if (config.String("check", "") == "throw rubbish") throw std::runtime_error(kRubbish);
  }

  std::vector<grpc::Service*> Services() override { return {this}; }
  void Stop(lastcall::Deadline) noexcept override { Do(in_stop_); }
  grpc::Status Nothing(grpc::ServerContext*, const lastcall::test::Nil*,
                       lastcall::test::Nil*) override {
    Do(when_called_);
    return grpc::Status::OK;
  }

 private:
  const std::string in_stop_, when_called_;
  lastcall::Subscription again_;
};

}  // namespace

LASTCALL_PLUGIN(Rude, "1.0.0")
