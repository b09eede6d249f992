// What the plugins of a process share and one of them can spoil for all: signal handlers, the signal
// masks of threads, children. Looked at before and after a plugin's code has run, never in between.
#pragma once

#include <sys/types.h>

#include <csignal>
#include <map>
#include <string>
#include <unordered_map>

#include <lastcall/base/log.h>

namespace lastcall {

// Threads: the one that runs the plugins' code, always the same.
class ProcessAudit {
 public:
  // Whatever is there now is nobody's fault.
  explicit ProcessAudit(Log log);

  // After code of `who` ("plugin echo of server public") has run: logs what it has changed. Handlers
  // of the signals that Lastcall reads, and the mask of this thread, are put back.
  void Inspect(const std::string& who);
  // After its end: logs the children that it has left behind.
  void InspectEnd(const std::string& who);

 private:
  void CompareHandlers(const std::string& who);
  void CompareMasks(const std::string& who);
  void CompareChildren(const std::string& who);
  void Say(const std::string& who, const std::string& what);

  const Log log_;
  const bool masked_;  // whether this program blocks the signals that Lastcall reads
  std::map<int, struct sigaction> handlers_;
  // How often each was looked at: a host of very many servers has very many threads, and nobody but a thread
  // changes its own mask.
  std::unordered_map<pid_t, int> looks_;
  std::map<pid_t, std::string> children_;  // known, with who started them; empty: no matter
};

}  // namespace lastcall
