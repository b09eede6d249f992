#include "lastcall/rpc/port_holder.h"

#include <charconv>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string_view>

#include "lastcall/lifecycle/cause.h"

namespace lastcall {
namespace {

namespace fs = std::filesystem;

// As /proc/PID/fd shows a socket: "socket:[4711]".
using Links = std::set<std::string, std::less<>>;

// Lines of /proc/net/tcp, see proc_pid_net(5):
//   sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …
void CollectListening(const char* table, uint16_t port, Links& links) {
  constexpr std::string_view kListen = "0A";
  std::ifstream lines(table);
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream fields(line);
    std::string slot, local, remote, state, queues, timer, retransmits, uid, timeout, inode;
    fields >> slot >> local >> remote >> state >> queues >> timer >> retransmits >> uid >>
        timeout >> inode;
    const size_t colon = local.rfind(':');
    if (state != kListen || colon == local.npos) continue;
    uint16_t bound = 0;
    std::from_chars(local.data() + colon + 1, local.data() + local.size(), bound, 16);
    if (bound == port) links.insert("socket:[" + inode + "]");
  }
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

std::string HolderOfPort(uint16_t port) {
  Links links;
  CollectListening("/proc/net/tcp", port, links);
  CollectListening("/proc/net/tcp6", port, links);
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

}  // namespace lastcall
