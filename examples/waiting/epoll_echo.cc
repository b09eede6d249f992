// An epoll loop that echoes what its clients send. SIGTERM: nobody new comes in, those who are
// there may go on for 2 s, then they are cut off. Only the loop itself waits for the signal.
#include <lastcall/base/unique_fd.h>
#include <lastcall/program/program.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cstdio>
#include <map>

using namespace std::chrono_literals;
using lastcall::Stage;
using lastcall::UniqueFd;
using Client = std::pair<UniqueFd, lastcall::Work>;  // grace lasts until he has gone

int main() {
  lastcall::BlockSignals();  // before the first thread
  lastcall::Program program(
      {.name = "epoll_echo", .shutdown = {.delay = 0s, .grace = 2s, .cancel = 1s}});
  const int leave = program.termination().fd(Stage::kGrace);
  const int cancel = program.termination().fd(Stage::kCancel);

  UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof(address);
  bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size);
  listen(listener.get(), 16);
  getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size);

  const UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  const auto watch = [&](int fd) {
    epoll_event interest{.events = EPOLLIN, .data = {.fd = fd}};
    epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &interest);
  };
  for (const int fd : {listener.get(), leave, cancel}) watch(fd);
  lastcall::Work open = program.Hold("listener");  // who is accepted is entered before it goes
  program.Ready();
  std::printf("ready on %d\n", ntohs(address.sin_port));
  std::fflush(stdout);

  std::map<int, Client> clients;
  for (epoll_event event{}; event.data.fd != cancel;) {
    if (epoll_wait(epoll.get(), &event, 1, -1) < 1) continue;  // stopped and continued
    if (event.data.fd == leave) {
      listener.Reset();
      open.End();
      epoll_ctl(epoll.get(), EPOLL_CTL_DEL, leave, nullptr);
    } else if (event.data.fd == listener.get()) {
      const int fd = accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC);
      clients[fd] = {UniqueFd(fd), program.Enter("client " + std::to_string(fd))};
      watch(fd);
    } else if (event.data.fd != cancel) {
      char text[1024];
      const ssize_t length = read(event.data.fd, text, sizeof(text));
      if (length <= 0 || write(event.data.fd, text, length) < 0) clients.erase(event.data.fd);
    }
  }
  clients.clear();
  return program.Run();
}
