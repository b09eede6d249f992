#include "lastcall/net/listener.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/filter.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "lastcall/base/safe_text.h"
#include "lastcall/net/host_lookup.h"
#include "lastcall/net/port_holder.h"
#include "lastcall/net/unix_path.h"

namespace lastcall {
namespace {

tl::unexpected<Error> CannotListen(Code code, const Address& address, const std::string& why) {
  return Fail(code, "cannot listen on " + address.text + ": " + why);
}

struct Candidate {
  sockaddr_storage name{};
  socklen_t size = 0;
  bool dual_stack = false;

  int family() const { return name.ss_family; }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&name); }
};

template <class T>
Candidate CandidateOf(const T& name, bool dual_stack) {
  Candidate candidate;
  std::memcpy(&candidate.name, &name, sizeof(name));
  candidate.size = sizeof(name);
  candidate.dual_stack = dual_stack;
  return candidate;
}

std::vector<Candidate> AllAddresses(uint16_t port) {
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  six.sin6_addr = in6addr_any;
  six.sin6_port = htons(port);
  sockaddr_in four{};
  four.sin_family = AF_INET;
  four.sin_addr.s_addr = htonl(INADDR_ANY);
  four.sin_port = htons(port);
  return {CandidateOf(six, true), CandidateOf(four, false)};
}

Result<std::vector<Candidate>> Resolve(const Address& address) {
  if (address.host == "*") return AllAddresses(address.port);
  const auto hosts = LookUpHost(address.host);
  if (!hosts) return CannotListen(hosts.error().code, address, hosts.error().message);
  std::vector<Candidate> candidates;
  for (const std::string& host : *hosts) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    addrinfo* found = nullptr;
    if (getaddrinfo(host.c_str(), std::to_string(address.port).c_str(), &hints, &found) != 0) {
      continue;
    }
    Candidate candidate;
    std::memcpy(&candidate.name, found->ai_addr, found->ai_addrlen);
    candidate.size = found->ai_addrlen;
    candidates.push_back(candidate);
    freeaddrinfo(found);
  }
  return candidates;
}

std::string TextOf(int fd) {
  Candidate bound;
  bound.size = sizeof(bound.name);
  getsockname(fd, reinterpret_cast<sockaddr*>(&bound.name), &bound.size);
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> port{};
  getnameinfo(bound.get(), bound.size, host.data(), host.size(), port.data(), port.size(),
              NI_NUMERICHOST | NI_NUMERICSERV);
  const std::string text = host.data();
  return (bound.family() == AF_INET6 ? "[" + text + "]" : text) + ":" + port.data();
}

// The TCP clients that a socket is for: those of one address, of every address of a family, or of
// both.
class Clients {
 public:
  explicit Clients(const Candidate& candidate) : port_(0) {
    if (candidate.family() == AF_INET) {
      const auto& name = reinterpret_cast<const sockaddr_in&>(candidate.name);
      port_ = name.sin_port;
      const bool all = name.sin_addr.s_addr == htonl(INADDR_ANY);
      four_ = all ? kAll : std::string(reinterpret_cast<const char*>(&name.sin_addr), 4);
    } else if (candidate.family() == AF_INET6) {
      const auto& name = reinterpret_cast<const sockaddr_in6&>(candidate.name);
      port_ = name.sin6_port;
      const bool all = IN6_IS_ADDR_UNSPECIFIED(&name.sin6_addr);
      six_ = all ? kAll
                 : std::string(reinterpret_cast<const char*>(&name.sin6_addr), 16) +
                       std::to_string(name.sin6_scope_id);
      if (all && candidate.dual_stack) four_ = kAll;
    }
  }
  static Clients Of(int fd) {
    Candidate bound;
    bound.size = sizeof(bound.name);
    getsockname(fd, reinterpret_cast<sockaddr*>(&bound.name), &bound.size);
    int only_ipv6 = 1;
    socklen_t size = sizeof(only_ipv6);
    getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only_ipv6, &size);
    bound.dual_stack = only_ipv6 == 0;
    return Clients(bound);
  }

  bool Include(const Clients& others) const {
    return port_ == others.port_ && Includes(four_, others.four_) && Includes(six_, others.six_);
  }
  bool Meet(const Clients& others) const {
    return port_ == others.port_ && (Meets(four_, others.four_) || Meets(six_, others.six_));
  }

 private:
  static constexpr char kAll[] = "all";

  static bool Includes(const std::string& these, const std::string& others) {
    return others.empty() || these == kAll || these == others;
  }
  static bool Meets(const std::string& these, const std::string& others) {
    return !these.empty() && !others.empty() &&
           (these == kAll || others == kAll || these == others);
  }

  in_port_t port_;          // 0: of no TCP socket
  std::string four_, six_;  // of IPv4 and IPv6: one address, kAll, or none
};

// The kernel lets sockets share a port that all of them agree to share. While this lives, they do;
// afterwards nobody else can join them.
class SharedPort {
 public:
  explicit SharedPort(const std::vector<const Listener*>& sockets) : sockets_(sockets) { Share(1); }
  ~SharedPort() { Share(0); }
  SharedPort(const SharedPort&) = delete;
  SharedPort& operator=(const SharedPort&) = delete;

 private:
  void Share(int on) const {
    for (const Listener* socket : sockets_) {
      setsockopt(socket->fd(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    }
  }
  const std::vector<const Listener*>& sockets_;
};

enum class Purpose { kListen, kProbe };

// A socket that listens, or that could; or errno. `shared`: beside others, see SharedPort.
tl::expected<UniqueFd, int> Listen(const Candidate& candidate, bool shared, Purpose purpose) {
  UniqueFd fd(socket(candidate.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return tl::unexpected(errno);
  const int on = 1, only_ipv6 = candidate.dual_stack ? 0 : 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (candidate.family() == AF_INET6) {
    setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &only_ipv6, sizeof(only_ipv6));
  }
  if (shared) setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
  if (bind(fd.get(), candidate.get(), candidate.size) != 0 ||
      (purpose == Purpose::kListen && listen(fd.get(), kListenBacklog) != 0)) {
    return tl::unexpected(errno);
  }
  const int off = 0;
  if (shared) setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &off, sizeof(off));
  return fd;
}

// By whoever listens there or, which surprises people, by a connection that the kernel has given the
// port to.
std::string InUse(uint16_t port) {
  constexpr char kOrAnother[] = "; stop that process, or choose another port";
  const std::string holder = HolderOfPort(port);
  if (!holder.empty()) return "the address is in use by " + holder + kOrAnother;
  const std::string connection = ConnectionOfPort(port);
  if (connection.empty()) return std::string("the address is in use") + kOrAnother;
  std::string text = "the address is in use by a connection " + connection;
  if (!IsEphemeral(port)) return text + kOrAnother;
  return text +
         ", for the kernel may give this port to any outgoing one; wait until that is over, choose "
         "a "
         "port outside of net.ipv4.ip_local_port_range, or add " +
         std::to_string(port) + " to net.ipv4.ip_local_reserved_ports (sysctl)";
}

tl::unexpected<Error> TcpFailure(const Address& address, int error) {
  switch (error) {
    case EADDRINUSE: return CannotListen(Code::kAlreadyExists, address, InUse(address.port));
    case EACCES:
      return CannotListen(Code::kPermissionDenied, address,
                          "ports below 1024 need the capability CAP_NET_BIND_SERVICE; grant it "
                          "(AmbientCapabilities= in the unit), or choose another port");
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
      return CannotListen(
          Code::kInvalidArgument, address,
          "this machine has no such address; choose one that `ip address` shows, or "
          "\"*\" for all");
    default: return FailErrno("cannot listen on " + address.text, error);
  }
}

// What begins a connection is dropped, what completes one that has begun is not. Where the kernel
// takes no filter newcomers join the queue, and are cut off with it.
void DropNewcomers(int fd) {
  constexpr uint32_t kFlags = 13;  // their place in the header of TCP, where the packet begins
  constexpr uint32_t kSyn = 0x02;
  constexpr uint32_t kDrop = 0, kKeep = UINT32_MAX;
  std::array<sock_filter, 4> code{
      {BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kFlags), BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, kSyn, 0, 1),
       BPF_STMT(BPF_RET | BPF_K, kDrop), BPF_STMT(BPF_RET | BPF_K, kKeep)}};
  const sock_fprog filter{static_cast<uint16_t>(code.size()), code.data()};
  setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter));
}

// A port that the kernel chose goes with the end of listening; the socket takes it again.
bool KeepPort(int fd, const std::string& address) {
  Candidate bound;
  bound.size = sizeof(bound.name);
  getsockname(fd, reinterpret_cast<sockaddr*>(&bound.name), &bound.size);
  if (bound.family() != AF_INET && bound.family() != AF_INET6) return true;
  // In the same place of both.
  in_port_t& port = reinterpret_cast<sockaddr_in&>(bound.name).sin_port;
  port = htons(static_cast<in_port_t>(std::stoi(address.substr(address.rfind(':') + 1))));
  // EINVAL: it has a port still, and so this one.
  return bind(fd, bound.get(), bound.size) == 0 || errno == EINVAL;
}

Result<Listener> BindTcp(const Address& address, const std::vector<const Listener*>& narrower,
                         Purpose purpose = Purpose::kListen) {
  const SharedPort shared(narrower);
  const auto candidates = Resolve(address);
  if (!candidates) return tl::unexpected(candidates.error());
  int error = EADDRNOTAVAIL;
  for (const Candidate& candidate : *candidates) {
    auto fd = Listen(candidate, !narrower.empty(), purpose);
    if (fd) {
      const std::string text = TextOf(fd->get());
      return Listener(std::move(*fd), text, {});
    }
    error = fd.error();
    // Anything else is said: to go on after EADDRINUSE would give two daemons the same name.
    if (error != EADDRNOTAVAIL && error != EAFNOSUPPORT) break;
  }
  return TcpFailure(address, error);
}

}  // namespace

Result<Listener> Listener::Bind(const Address& address,
                                const std::vector<const Listener*>& narrower) {
  if (address.kind == Address::Kind::kTcp) return BindTcp(address, narrower);
  if (address.kind == Address::Kind::kSystemd) {
    return CannotListen(Code::kInvalidArgument, address,
                        "only lastcalld takes sockets from systemd");
  }
  auto made = ListenOnPath(address);
  if (!made) return tl::unexpected(made.error());
  return Listener(std::move(made->fd), "unix:" + address.path,
                  {address.path, made->device, made->inode});
}

Result<> Listener::Probe(const Address& address, const std::vector<const Listener*>& narrower) {
  if (address.kind == Address::Kind::kUnix) return ProbePath(address);
  if (address.kind == Address::Kind::kSystemd) return {};
  const auto fine = BindTcp(address, narrower, Purpose::kProbe);
  return fine ? Result<>() : tl::unexpected(fine.error());
}

Listener::Reach Listener::ReachOf(const Address& address) const {
  if (address.kind == Address::Kind::kUnix) {
    return path_.name == address.path ? Reach::kSame : Reach::kApart;
  }
  if (address.kind == Address::Kind::kSystemd || address.port == 0) return Reach::kApart;
  const auto candidates = Resolve(address);
  if (!candidates || candidates->empty()) return Reach::kApart;
  const Clients ours = Clients::Of(fd_.get()), theirs(candidates->front());
  if (!theirs.Meet(ours)) return Reach::kApart;
  if (!theirs.Include(ours)) return Reach::kOther;
  return ours.Include(theirs) ? Reach::kSame : Reach::kWider;
}

Result<> Listener::ProbeRights(const Address& address) { return lastcall::ProbeRights(address); }

Listener::Fault Listener::fault() const {
  pollfd shut{fd_.get(), POLLRDHUP, 0};
  if (poll(&shut, 1, 0) == 1 && (shut.revents & (POLLHUP | POLLRDHUP)) != 0) {
    return Fault::kShutDown;
  }
  return path_.name.empty() || PathIsOurs() ? Fault::kNone : Fault::kPathGone;
}

bool Listener::ListenAgain() const {
  const int ignored = 0;
  setsockopt(fd_.get(), SOL_SOCKET, SO_DETACH_FILTER, &ignored, sizeof(ignored));  // of HoldOff
  return KeepPort(fd_.get(), address_) && listen(fd_.get(), kListenBacklog) == 0 &&
         fault() != Fault::kShutDown;
}

void Listener::HoldOff() const {
  int family = AF_UNSPEC;
  socklen_t size = sizeof(family);
  getsockopt(fd_.get(), SOL_SOCKET, SO_DOMAIN, &family, &size);
  if (family == AF_UNIX) {
    shutdown(fd_.get(), SHUT_RD);
    RemovePath();
  } else {
    DropNewcomers(fd_.get());
  }
}

void Listener::EndListening() const {
  shutdown(fd_.get(), SHUT_RD);
  // On a unix socket they would wait for as long as anybody has a copy of it.
  while (UniqueFd(accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC))) {
  }
  RemovePath();
}

void Listener::RemovePath() const {
  if (!path_.name.empty() && PathIsOurs()) unlink(path_.name.c_str());
}

// The inode cannot have been given to another file, for our socket still holds it.
bool Listener::PathIsOurs() const {
  struct stat now {};
  return lstat(path_.name.c_str(), &now) == 0 && now.st_dev == path_.device &&
         now.st_ino == path_.inode;
}

Result<> Listener::SetRights(const Address& address) const {
  return SetPathRights(address, path_.device, path_.inode);
}

Listener::Listener(UniqueFd fd) : fd_(std::move(fd)) {
  sockaddr_storage name{};
  socklen_t size = sizeof(name);
  getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&name), &size);
  if (name.ss_family != AF_UNIX) {
    address_ = TextOf(fd_.get());
    return;
  }
  const auto& path = reinterpret_cast<const sockaddr_un&>(name).sun_path;
  const bool abstract = path[0] == '\0';
  const std::string name_in_it(path + abstract, strnlen(path + abstract, sizeof(path) - abstract));
  address_ = (abstract ? "unix-abstract:" : "unix:") + SafeText(name_in_it);
}

Listener::Listener(Listener&& other) noexcept
    : fd_(std::move(other.fd_)),
      address_(std::move(other.address_)),
      path_(std::exchange(other.path_, {})),
      own_(other.own_) {}

Listener& Listener::operator=(Listener&& other) noexcept {
  Listener taken(std::move(other));
  std::swap(fd_, taken.fd_);
  std::swap(address_, taken.address_);
  std::swap(path_, taken.path_);
  std::swap(own_, taken.own_);
  return *this;
}

Listener::~Listener() { RemovePath(); }

UniqueFd Listener::Release() {
  path_ = {};
  return std::move(fd_);
}

}  // namespace lastcall
