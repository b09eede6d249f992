// Addresses as a configuration writes them.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <lastcall/base/result.h>

namespace lastcall {

// Bytes in the path of a unix socket, by unix(7).
inline constexpr size_t kMaxUnixPath = 107;

// "127.0.0.1:50051", "[::1]:50051", "localhost:50051", "*:50051" (all of IPv4 and IPv6), port 0 for
// a free one; "unix:/run/shop.sock", with "?mode=0660&group=shop" where wanted; "systemd:NAME", the
// sockets of that name that a socket unit passes.
//
// "0.0.0.0" is all of IPv4 alone and "[::]" all of IPv6 alone: what is written is what is bound.
struct Address {
  enum class Kind { kTcp, kUnix, kSystemd };
  static constexpr gid_t kNoGroup = static_cast<gid_t>(-1);

  Kind kind = Kind::kTcp;
  std::string host;  // as written, without brackets
  uint16_t port = 0;
  std::string path;    // absolute; of kSystemd, the name
  mode_t mode = 0666;  // of the unix socket; who may connect
  std::string group;   // empty: the daemon's
  // The group's number, where it was looked up already; kNoGroup: this machine has no such group.
  std::optional<gid_t> group_id = {};
  std::string text;  // as written

  // A relative unix path is below `directory`; without a directory it is refused.
  // Fails: kInvalidArgument, with what is wrong and an example.
  static Result<Address> Parse(std::string_view text, std::string_view directory = {});

  // The text that parses to the same anywhere: with an absolute path, without settings that are the
  // default.
  std::string Canonical() const;

  // Whether both cannot be bound at once, as far as the text tells: names other than localhost are
  // not looked up.
  bool Overlaps(const Address& other) const;
};

}  // namespace lastcall
