// What has to be read before anything can change: the configuration, and all that it names. Any of
// it may take its time, or hang with its file system: it is read beside the loop, and judged there.
#pragma once

#include <unistd.h>

#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "daemon/admin/roles.h"
#include "daemon/config/config.h"
#include "daemon/setup/fingerprints.h"

#include <lastcall/base/clock.h>

namespace lastcall {

// What a thread is at, for who waits for it in vain. Threads: any.
class Step {
 public:
  void Set(std::string what);  // "reading the certificates"
  std::string what() const;

 private:
  mutable std::mutex mutex_;
  std::string what_;
};

struct Prepared {
  bool loaded = false;  // otherwise there is no configuration
  Config config;
  std::vector<ConfigProblem> problems;  // every one; then the rest is left out
  Fingerprints fingerprints;
  Roles roles{{}, {}, geteuid()};
  std::vector<std::string> warnings;  // to be said where it takes effect
};

// `load` reads the configuration. `now`: for the dates of certificates.
// Blocks: reads files, and asks for groups. Threads: any.
Prepared Prepare(const std::function<Checked<Config>()>& load, const std::string& host_program,
                 WallTime now, Step& step);

}  // namespace lastcall
