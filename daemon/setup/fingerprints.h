// What a reload would change: two configurations side by side, by content and not by date.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "daemon/config/config.h"

namespace lastcall {

// Of each process, everything that it is made of: its program, its servers with their settings, and
// what is in the files of their plugins. Processes with equal parts need no replacement.
// Each part has a name for people: "plugin echo", "limits of server public".
using Fingerprint = std::map<std::string, std::string>;
using Fingerprints = std::map<std::string, Fingerprint>;

// Blocks: reads every plugin and the host program, once each. One that cannot be read has the part
// "missing".
Fingerprints FingerprintsOf(const Config& config, const std::string& host_program);

// SHA-256; "missing" where it cannot be read. Blocks: reads the file.
std::string DigestOf(const std::string& path);
std::string DigestOfText(const std::string& text);

// One setting, as the configuration is written.
struct ValueChange {
  std::string setting;  // "shutdown.grace"
  std::string before;   // empty: it was not there
  std::string after;    // empty: it is not there any more
};

struct ConfigChange {
  char sign = '=';                       // + new, - gone, ~ changed, = as it was
  std::string what;                      // "process main", "shutdown"
  std::string detail;                    // what of it; empty for all of it
  std::vector<ValueChange> values = {};  // of what is changed, not of what is new or gone
};

struct Changes {
  std::vector<ConfigChange> list;  // for people: processes, then what concerns the daemon alone
  std::vector<std::string> added;  // processes
  std::vector<std::string> replaced;
  std::vector<std::string> removed;
};

Changes Compare(const Config& before, const Fingerprints& fingerprints_before, const Config& after,
                const Fingerprints& fingerprints_after);

// What only a restart of the daemon can change; empty: nothing of it has.
std::vector<ConfigProblem> NeedsRestart(const Config& before, const Config& after);

}  // namespace lastcall
