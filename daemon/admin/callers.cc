#include "daemon/admin/callers.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdio>
#include <iterator>
#include <vector>

namespace lastcall {
namespace {

// A name has room for 107 bytes.
constexpr size_t kMostOfGroup = 32;
// Users that are remembered though they may be gone.
constexpr size_t kUsers = 64;
// How often the log says of a user that there are too many connections.
constexpr Duration kSilence = std::chrono::minutes(1);

constexpr const char* kUnknown = "closed a connection of which the kernel does not say whose it is";

std::string PerSecond(const TokenBucket::Rate& pace) {
  return std::to_string(static_cast<int>(pace.per_second)) + " connections a second";
}

std::string MakeSecret() {
  uint64_t number = 0;
  static_cast<void>(getrandom(&number, sizeof(number), 0));
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(number));
  return text.data();
}

// gRPC writes other characters in another way.
std::string Plain(std::string text) {
  text.resize(std::min(text.size(), kMostOfGroup));
  std::replace_if(
      text.begin(), text.end(),
      [](unsigned char c) { return std::isalnum(c) == 0 && c != '-' && c != '_' && c != '.'; },
      '_');
  return text;
}

std::vector<std::string_view> Split(std::string_view text) {
  std::vector<std::string_view> parts;
  while (true) {
    const size_t slash = text.find('/');
    parts.push_back(text.substr(0, slash));
    if (slash == text.npos) return parts;
    text.remove_prefix(slash + 1);
  }
}

template <class T>
bool Parse(std::string_view text, T& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

std::string Describe(const Caller& caller, const std::string& user) {
  const std::string command = CommandOf(caller.pid);
  return (command.empty() ? "a process" : command) + " (pid " + std::to_string(caller.pid) + ", " +
         (user.empty() ? "" : user + ", ") + "uid " + std::to_string(caller.uid) + ", " +
         std::string(Name(caller.role)) +
         (caller.by.empty() ? ""
          : caller.owner    ? " as " + caller.by
                            : " by the group " + caller.by) +
         ")";
}

Cause CauseOf(const Caller& caller, const std::string& reason) {
  return {.kind = Cause::Kind::kAdmin,
          .pid = caller.pid,
          .uid = caller.uid,
          .who = CommandOf(caller.pid),
          .reason = reason};
}

AdminCallers::AdminCallers(Roles roles, const Clock& clock, Log log,
                           std::function<std::string(uid_t)> user_name)
    : secret_(MakeSecret()),
      clock_(clock),
      log_(std::move(log)),
      names_(std::move(user_name)),
      roles_(std::move(roles)),
      most_users_(kUsers) {}

std::optional<AdminCallers::Admitted> AdminCallers::Admit(int fd) {
  auto peer = PeerOf(fd);
  tl::expected<Standing, std::string> standing = tl::unexpected(std::string(kUnknown));
  if (peer) {
    std::lock_guard lock(mutex_);
    standing = Look(fd, *peer);
  }
  if (!standing) {
    if (!standing.error().empty()) log_(LogLevel::kWarning, "admin: " + standing.error());
    return std::nullopt;
  }
  const std::string by = standing->owner ? "" : Plain(standing->by);
  return Admitted{secret_ + "/" + std::to_string(peer->pid) + "/" + std::to_string(peer->uid) +
                      "/" + std::to_string(static_cast<int>(standing->role)) + "/" +
                      (standing->owner ? "owner" : "group") + "/" + by,
                  standing->role};
}

// The cheapest question first.
tl::expected<Standing, std::string> AdminCallers::Look(int fd, Peer& peer) {
  const Instant now = clock_.Now();
  const auto known = users_.find(peer.uid);
  if (known != users_.end() && !roles_.IsOwner(peer.uid) && !known->second.pace.TryTake(now)) {
    return Refuse(known->second.told_at,
                  "uid " + std::to_string(peer.uid) + " makes " + PerSecond(kPaceOfUser));
  }
  if (!AddGroups(fd, peer)) return tl::unexpected(std::string(kUnknown));
  const Standing standing = roles_.Of(peer);
  if (standing.role == Role::kStranger && !pace_of_strangers_.TryTake(now)) {
    return Refuse(told_of_strangers_at_,
                  "users without a role make " + PerSecond(kPaceOfStrangers));
  }
  return LookForRoom(fd, peer, standing);
}

tl::expected<Standing, std::string> AdminCallers::LookForRoom(int fd, const Peer& peer,
                                                              Standing standing) {
  User& user = UserOf(peer.uid);
  const bool stranger = standing.role == Role::kStranger;
  const size_t limit = stranger ? kOfStranger : standing.owner ? kOfOwner : kOfUser;
  if (!user.connections.HasRoom(limit)) {
    return Refuse(user.told_at, "uid " + std::to_string(peer.uid) + " has " +
                                    std::to_string(limit) + " connections");
  }
  if (stranger && !of_strangers_.HasRoom(kOfStrangers)) {
    return Refuse(told_of_strangers_at_,
                  "users without a role have " + std::to_string(kOfStrangers) + " connections");
  }
  user.connections.Add(fd);
  if (stranger) of_strangers_.Add(fd);
  return standing;
}

// Those who have gone are forgotten when there are many, with what they have left of their pace.
AdminCallers::User& AdminCallers::UserOf(uid_t uid) {
  if (users_.size() >= most_users_ && !users_.contains(uid)) {
    for (auto one = users_.begin(); one != users_.end();) {
      one = one->second.connections.Count() == 0 ? users_.erase(one) : std::next(one);
    }
    most_users_ = std::max(kUsers, 2 * users_.size());
  }
  return users_[uid];
}

tl::unexpected<std::string> AdminCallers::Refuse(std::optional<Instant>& told_at,
                                                 const std::string& what) {
  const Instant now = clock_.Now();
  if (told_at && now - *told_at <= kSilence) return tl::unexpected(std::string());
  told_at = now;
  return tl::unexpected(what +
                        " to the admin socket, which is the most that there may be; more are "
                        "closed immediately");
}

std::optional<Caller> AdminCallers::Identify(std::string_view peer) const {
  constexpr std::string_view kScheme = "unix:";
  if (!peer.starts_with(kScheme)) return std::nullopt;
  const auto parts = Split(peer.substr(kScheme.size()));
  if (parts.size() != 6 || parts[0] != secret_) return std::nullopt;
  Caller caller;
  int role = 0;
  if (!Parse(parts[1], caller.pid) || !Parse(parts[2], caller.uid) || !Parse(parts[3], role)) {
    return std::nullopt;
  }
  caller.role = static_cast<Role>(role);
  caller.owner = parts[4] == "owner";
  caller.by = !caller.owner ? parts[5] : caller.uid == 0 ? "root" : "the daemon's user";
  return caller;
}

void AdminCallers::SetRoles(Roles roles) {
  std::lock_guard lock(mutex_);
  roles_ = std::move(roles);
}

std::string AdminCallers::Denial(const Caller& caller, std::string_view verb) {
  const std::string name = names_.Of(caller.uid);
  std::lock_guard lock(mutex_);
  return roles_.Denial(caller.uid, name, caller.role, verb);
}

std::string AdminCallers::Describe(const Caller& caller) {
  return lastcall::Describe(caller, names_.Of(caller.uid));
}

}  // namespace lastcall
