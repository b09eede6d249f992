// A listening socket: bound once, by whoever owns it, and handed to the processes that accept.
#pragma once

#include <string>

#include <lastcall/base/result.h>
#include <lastcall/base/unique_fd.h>
#include <lastcall/rpc/address.h>

namespace lastcall {

class Listener {
 public:
  // Binds and listens. TCP sockets have TCP_NODELAY and SO_REUSEADDR; "*" is one socket for IPv4 and
  // IPv6. A unix socket appears by rename, with its mode and group; one that nobody listens on any
  // more is replaced. Non-blocking, CLOEXEC.
  // Fails: kAlreadyExists when the address is in use (with who holds it, where that can be known),
  // kPermissionDenied, kInvalidArgument (no such host, group or folder); the message has address and
  // remedy.
  static Result<Listener> Bind(const Address& address);
  // Wraps a socket that listens already.
  Listener(UniqueFd fd, std::string address) : fd_(std::move(fd)), address_(std::move(address)) {}

  Listener(Listener&&) = default;
  Listener& operator=(Listener&&) = default;
  // Removes the path of a unix socket that Bind made, if it is still this one.
  ~Listener();

  int fd() const { return fd_.get(); }
  UniqueFd Release();  // the path stays
  // As bound, with the real port: "127.0.0.1:40123", "[::]:50051", "unix:/run/shop.sock".
  const std::string& address() const { return address_; }

 private:
  UniqueFd fd_;
  std::string address_;
  std::string unlink_path_;  // empty: nothing to remove
  ino_t inode_ = 0;
};

}  // namespace lastcall
