#include "lastcall/net/port_holder.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string_view>
#include <vector>

#include "lastcall/lifecycle/cause.h"

namespace lastcall {
namespace {

namespace fs = std::filesystem;

// As /proc/PID/fd shows a socket: "socket:[4711]".
using Links = std::set<std::string, std::less<>>;

// States of a socket in /proc/net/tcp.
constexpr std::string_view kListen = "0A";

// Lines of /proc/net/tcp, see proc_pid_net(5):
//   sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …
struct SocketLine {
  std::string local;  // "0100007F:C383"
  std::string remote;
  std::string state;
  std::string inode;  // "0": it has no descriptor any more
};

uint16_t PortIn(std::string_view end) {
  uint16_t port = 0;
  const size_t colon = end.rfind(':');
  if (colon != end.npos) {
    std::from_chars(end.data() + colon + 1, end.data() + end.size(), port, 16);
  }
  return port;
}

// Those of this port, of both families.
std::vector<SocketLine> SocketsOf(uint16_t port) {
  std::vector<SocketLine> found;
  for (const char* const table : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    std::ifstream lines(table);
    std::string line;
    while (std::getline(lines, line)) {
      std::istringstream fields(line);
      SocketLine one;
      std::string slot, queues, timer, retransmits, uid, timeout;
      fields >> slot >> one.local >> one.remote >> one.state >> queues >> timer >> retransmits >>
          uid >> timeout >> one.inode;
      if (PortIn(one.local) == port) found.push_back(std::move(one));
    }
  }
  return found;
}

// As the kernel writes an end of a socket: words of its address in the order of this machine, in
// hexadecimal digits. "127.0.0.1:50051", "[::1]:50051".
std::string TextOfEnd(const std::string& end) {
  constexpr size_t kWord = 8;  // of a word
  std::array<uint32_t, 4> words{};
  const size_t count = std::min(end.rfind(':'), end.size()) / kWord;
  for (size_t i = 0; i < std::min(count, words.size()); ++i) {
    std::from_chars(end.data() + i * kWord, end.data() + (i + 1) * kWord, words[i], 16);
  }
  const bool mapped = count == 4 && IN6_IS_ADDR_V4MAPPED(reinterpret_cast<in6_addr*>(words.data()));
  std::array<char, INET6_ADDRSTRLEN> text{};
  const std::string port = ":" + std::to_string(PortIn(end));
  if (count == 1 || mapped) {
    inet_ntop(AF_INET, &words[mapped ? 3 : 0], text.data(), text.size());
    return text.data() + port;
  }
  inet_ntop(AF_INET6, words.data(), text.data(), text.size());
  return "[" + std::string(text.data()) + "]" + port;
}

bool HasDescriptor(const fs::path& process, const Links& links) {
  std::error_code error;
  fs::directory_iterator descriptors(process / "fd", error);
  for (; !error && descriptors != fs::directory_iterator(); descriptors.increment(error)) {
    std::error_code gone;  // descriptors come and go
    if (links.contains(fs::read_symlink(descriptors->path(), gone).string())) return true;
  }
  return false;
}

pid_t PidOf(const fs::path& process) {
  const std::string name = process.filename().string();
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
  return error == std::errc() && end == name.data() + name.size() ? pid : 0;
}

}  // namespace

std::string DescribeProcess(pid_t pid) {
  const std::string number = "pid " + std::to_string(pid);
  const std::string name = CommandOf(pid);
  return name.empty() ? number : name + " (" + number + ")";
}

namespace {

// Whose these sockets are, as DescribeProcess has it, joined by commas.
std::string HoldersOf(const Links& links) {
  std::string holders;
  std::error_code error;
  fs::directory_iterator processes("/proc", error);
  for (; !links.empty() && !error && processes != fs::directory_iterator();
       processes.increment(error)) {
    const pid_t pid = PidOf(processes->path());
    if (pid == 0 || !HasDescriptor(processes->path(), links)) continue;
    holders += (holders.empty() ? "" : ", ") + DescribeProcess(pid);
  }
  return holders;
}

}  // namespace

std::string HolderOfPort(uint16_t port) {
  Links links;
  for (const SocketLine& line : SocketsOf(port)) {
    if (line.state == kListen) links.insert("socket:[" + line.inode + "]");
  }
  return HoldersOf(links);
}

std::string ConnectionOfPort(uint16_t port) {
  for (const SocketLine& line : SocketsOf(port)) {
    if (line.state == kListen) continue;
    const std::string holder = HoldersOf({"socket:[" + line.inode + "]"});
    return (holder.empty() ? "" : "of " + holder + " ") + "from " + TextOfEnd(line.local) + " to " +
           TextOfEnd(line.remote);
  }
  return "";
}

bool IsEphemeral(uint16_t port) {
  std::ifstream range("/proc/sys/net/ipv4/ip_local_port_range");
  unsigned first = 0, last = 0;
  return range >> first >> last && port >= first && port <= last;
}

}  // namespace lastcall
