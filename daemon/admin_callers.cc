#include "daemon/admin_callers.h"

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
// How often the log says of a user that it has too many connections.
constexpr Duration kSilence = std::chrono::minutes(1);

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

std::string Describe(const Caller& caller) {
  const std::string command = CommandOf(caller.pid), user = UserName(caller.uid);
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

AdminCallers::AdminCallers(Roles roles, const Clock& clock, Log log)
    : secret_(MakeSecret()), clock_(clock), log_(std::move(log)), roles_(std::move(roles)) {}

std::optional<AdminCallers::Admitted> AdminCallers::Admit(int fd) {
  const auto peer = PeerOf(fd);
  if (!peer) {
    log_(LogLevel::kWarning,
         "admin: closed a connection of which the kernel does not say whose it is");
    return std::nullopt;
  }
  std::lock_guard lock(mutex_);
  const Standing standing = roles_.Of(*peer);
  if (!HasRoom(*peer, standing)) return std::nullopt;
  of_user_[peer->uid].Add(fd);
  if (standing.role == Role::kStranger) of_strangers_.Add(fd);
  const std::string by = standing.owner ? "" : Plain(standing.by);
  return Admitted{secret_ + "/" + std::to_string(peer->pid) + "/" + std::to_string(peer->uid) +
                      "/" + std::to_string(static_cast<int>(standing.role)) + "/" +
                      (standing.owner ? "owner" : "group") + "/" + by,
                  standing.role};
}

bool AdminCallers::HasRoom(const Peer& peer, const Standing& standing) {
  if (of_user_.size() > kUsers) {
    for (auto one = of_user_.begin(); one != of_user_.end();) {
      one = one->second.Count() == 0 ? of_user_.erase(one) : std::next(one);
    }
  }
  const bool stranger = standing.role == Role::kStranger;
  const size_t limit = stranger ? kOfStranger : standing.owner ? kOfOwner : kOfUser;
  if (!of_user_[peer.uid].HasRoom(limit)) {
    Crowded(peer.uid, UserText(peer.uid) + " has " + std::to_string(limit) + " connections");
    return false;
  }
  if (stranger && !of_strangers_.HasRoom(kOfStrangers)) {
    Crowded(peer.uid, "users without a role have " + std::to_string(kOfStrangers) + " connections");
    return false;
  }
  return true;
}

void AdminCallers::Crowded(uid_t uid, const std::string& what) {
  const Instant now = clock_.Now();
  std::erase_if(crowded_, [&](const auto& one) { return now - one.second > kSilence; });
  if (!crowded_.try_emplace(uid, now).second) return;
  log_(LogLevel::kWarning, "admin: " + what +
                               " to the admin socket, which is the most that there may "
                               "be; more are closed at once, until some of them end");
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

std::string AdminCallers::Denial(const Caller& caller, std::string_view verb) const {
  std::unique_lock lock(mutex_);
  const Roles roles = roles_;
  lock.unlock();  // looking up names may take long
  return roles.Denial(caller.uid, caller.role, verb);
}

}  // namespace lastcall
