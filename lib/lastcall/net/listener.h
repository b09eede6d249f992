// A listening socket: bound once, by whoever owns it, and handed to the processes that accept.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <lastcall/base/result.h>
#include <lastcall/base/unique_fd.h>
#include <lastcall/net/address.h>

namespace lastcall {

class Listener {
 public:
  // A path that was made for a socket, and how to know it again.
  struct Path {
    std::string name;  // empty: there is none
    dev_t device = 0;
    ino_t inode = 0;
  };

  // Binds and listens. Non-blocking, CLOEXEC.
  //
  // TCP sockets have TCP_NODELAY (accepted ones inherit it) and SO_REUSEADDR. "*" is one socket for
  // IPv4 and IPv6, or for IPv4 alone where the machine has no IPv6; every other IPv6 address,
  // "[::]" included, takes IPv6 alone, so that "0.0.0.0" can stand beside it. Of a name with
  // several addresses the first that this machine has is bound, in the order of getaddrinfo(3), and
  // no other; write the address where it matters. "localhost" is 127.0.0.1.
  //
  // A unix socket appears by rename, with its mode and group, when it listens already. One that
  // nobody listens on any more is replaced; any other file is left alone. Two that bind the same
  // path at the same instant are not kept apart: whoever runs twice needs a lock of its own.
  //
  // Blocks: for a host name, while it is looked up.
  // Fails: kAlreadyExists when the address is in use (with who holds it, where that can be known),
  // kPermissionDenied, kInvalidArgument (no such host, address, group or directory), kUnavailable
  // (name service); the message has address and remedy.
  static Result<Listener> Bind(const Address& address) { return Bind(address, {}); }
  // The same where `narrower` hold parts of the address already, see Reach. Their clients go on to
  // meet them, all others the new one.
  static Result<Listener> Bind(const Address& address,
                               const std::vector<const Listener*>& narrower);
  // Whether Bind would succeed now; nothing listens, and no file appears.
  static Result<> Probe(const Address& address, const std::vector<const Listener*>& narrower);
  // Wraps a socket that listens already and is somebody else's, with its path if it has one.
  explicit Listener(UniqueFd fd);
  Listener(UniqueFd fd, std::string address) : fd_(std::move(fd)), address_(std::move(address)) {}
  // Wraps one that Bind made, in a life of this process before it executed another binary.
  Listener(UniqueFd fd, std::string address, Path path)
      : fd_(std::move(fd)), address_(std::move(address)), path_(std::move(path)), own_(true) {}

  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&& other) noexcept;
  // Removes the path of a unix socket that Bind made, if it is still this one.
  ~Listener();

  int fd() const { return fd_.get(); }
  UniqueFd Release();  // the path stays
  // As bound, with the real port: "127.0.0.1:40123", "[::]:50051", "unix:/run/shop.sock".
  const std::string& address() const { return address_; }
  // What is removed at the end.
  const Path& path() const { return path_; }
  // Bind made it, so that nobody else counts on it.
  bool own() const { return own_; }

  // How the clients of `address`, whose host is no name to look up, are to those of this socket.
  enum class Reach : uint8_t {
    kApart,
    kSame,   // however it is written, and with whichever mode and group
    kWider,  // these and others
    kOther,  // not all of these
  };
  Reach ReachOf(const Address& address) const;
  enum class Fault : uint8_t { kNone, kPathGone, kShutDown };
  // What somebody has done to it. kPathGone: the path that Bind made leads elsewhere, or nowhere.
  // kShutDown: one of the processes that share it has called shutdown(2), which is for all of them.
  Fault fault() const;
  // After kShutDown. True: it listens as before, in every process that has it. A unix socket cannot.
  bool ListenAgain() const;

  // The end of listening in every process that has a copy, in two steps, so that those who are in the
  // queue can be accepted in between. From HoldOff on nobody joins them: on a unix socket newcomers
  // are refused, and its path is removed; over TCP they are not answered, and try again a second
  // later. From EndListening on newcomers are refused, and who still waits is cut off. Never for one that
  // is not the caller's to end: systemd's are shared with it.
  void HoldOff() const;
  void EndListening() const;

  // Gives the path of a unix socket the mode and the group of `address`. Fails: as Bind.
  Result<> SetRights(const Address& address) const;
  // Whether SetRights would succeed now, as far as can be known.
  static Result<> ProbeRights(const Address& address);

 private:
  bool PathIsOurs() const;
  void RemovePath() const;

  UniqueFd fd_;
  std::string address_;
  Path path_;
  bool own_ = false;
};

}  // namespace lastcall
