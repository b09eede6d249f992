// Closing a connection so that its client reads everything that was written to it.
//
// gRPC closes an idle connection right after its last GOAWAY. A request that the client sent just
// before then meets a closed socket: the kernel throws the GOAWAY away and answers with a reset (TCP)
// or a broken pipe (unix), and the client fails a call that it would have tried again elsewhere, had
// it read the GOAWAY. The remedy is an old one of web servers: close the writing half, read and drop
// what still comes, and go when the client has closed its side.
//
// gRPC leaves no room for that, so its calls of shutdown(2) and close(2) come by here first: this
// file defines both, and a program's own definition comes before the C library's. They do what they
// always do, but for the connections of a server that lingers.
#pragma once

#include <sys/epoll.h>

#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include <lastcall/base/clock.h>
#include <lastcall/base/unique_fd.h>
#include <lastcall/net/connections.h>

namespace lastcall {

// Takes connections over that their clients have not closed yet, to keep them for a while. Any
// thread; may block for a moment.
using ConnectionSink = std::function<void(std::vector<UniqueFd>)>;

// What it needs is there from its construction on. Once begun, the server's connections linger when
// gRPC closes them.
class Lingering {
 public:
  // Whether gRPC's calls do come by here; otherwise nothing ever lingers.
  static bool Works();

  // `closed` runs in any thread when gRPC has closed a connection, whose own end may be a moment
  // away. It must not block, and close nothing.
  Lingering(Connections& connections, std::function<void()> closed);
  // Blocks: until the connections that linger are gone.
  ~Lingering();

  // Once more than once is once.
  void Begin();

  // From now on they linger here for so long at most, instead of a second, and go to `heir` then;
  // empty: they are closed.
  void Limit(Duration longest, ConnectionSink heir);

  // gRPC hears no more of what arrives on the connections; what it has read already goes its way.
  void Mute();
  // It hears everything again, also what has arrived since.
  void Unmute();

  // For the definitions of shutdown(2) and close(2). True: it is taken care of.
  bool Shutdown(int fd);
  bool Close(int fd);

 private:
  struct Guest {
    UniqueFd fd;
    Instant until;
    Instant fin_at;  // when our side is shut; kNever: it is
  };
  // What an epoll instance was told of a descriptor.
  struct Registration {
    int epoll;
    int fd;
    epoll_event event;
  };

  // An epoll instance of this process, gRPC's for one, and what proc(5) says of it.
  struct Epoll {
    int fd;
    UniqueFd info;
  };

  static void AddRegistrations(const Epoll& epoll, std::vector<Registration>& registrations);
  void FindEpolls();
  void Run();
  void PassOn(std::vector<Guest>& guests, Instant now);

  Connections& connections_;
  const std::function<void()> closed_;
  std::vector<Epoll> epolls_;  // constant once begun
  bool begun_ = false;
  UniqueFd wake_;  // eventfd
  std::mutex mutex_;
  bool ending_ = false;
  Duration longest_;
  ConnectionSink heir_;
  std::vector<Guest> arrived_;
  std::vector<Registration> muted_;
  std::thread thread_;
};

}  // namespace lastcall
