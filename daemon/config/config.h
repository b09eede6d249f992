// The configuration of lastcalld: a TOML file, its drop-ins, or the command line's --plugin.
// All errors are found at once, with file, line and remedy; a bad configuration changes nothing.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <lastcall/base/clock.h>
#include <lastcall/base/result.h>
#include <lastcall/lifecycle/plan.h>
#include <lastcall/net/address.h>
#include <lastcall/net/limits.h>
#include <lastcall/net/tls.h>
#include <lastcall/plugin/config.h>
#include <lastcall/plugin/offload.h>
#include <lastcall/rpc/stall_limits.h>
#include <lastcall/supervisor/frozen_policy.h>
#include <lastcall/supervisor/restart_policy.h>

namespace lastcall {

// Where a value was written; `file` is empty for the command line and for defaults.
struct SourceLocation {
  std::string file;     // absolute
  uint32_t line = 0;    // from 1; 0: the file as a whole
  uint32_t column = 0;  // from 1, for TOML that cannot be parsed
};

struct PluginSpec {
  std::string name;     // as written in `plugins`: "echo", or the stem of a path
  std::string path;     // of the shared object, absolute
  PluginConfig config;  // made from [server.X.config.NAME]
  std::map<std::string, PluginConfig::Value, std::less<>> values;  // the same, to hand on
  OffloadLimits offload;                                           // [server.X.offload.NAME]
  SourceLocation location;
};

struct ServerConfig {
  std::string name;
  std::vector<Address> listen;
  std::vector<PluginSpec> plugins;
  std::string process = "main";
  bool reflection = false;
  ServerLimits limits;
  StallLimits stalls;
  std::optional<TlsFiles> tls;         // paths, absolute; empty: plaintext
  std::optional<TlsMaterial> tls_pem;  // what is in them, once ReadCertificates was there
  SourceLocation tls_location;
  SourceLocation location;
};

struct ProcessConfig {
  std::string name;
  RestartPolicy restart = RestartPolicy::kAlways;
  FrozenPolicy frozen = FrozenPolicy::kReport;
  Duration frozen_after = std::chrono::seconds(10);
  SourceLocation location;
};

struct Config {
  std::string file;                // absolute; empty with --plugin
  std::vector<std::string> files;  // that one and its drop-ins, in the order they were read
  bool from_pipe = false;          // `file` cannot be read again
  std::string plugin_dir = "/usr/lib/lastcall/plugins";
  std::string state_dir = "/var/lib/lastcall";
  Budget shutdown;  // grace may be kForever, the others never are
  std::optional<Duration> quiet;
  Duration ready = std::chrono::seconds(30);  // [reload] ready
  Duration settle = std::chrono::seconds(2);
  Duration reload_grace = std::chrono::minutes(10);  // may be kForever
  uint32_t keep = 3;                                 // retired incarnations of a process
  std::string admin_socket = "/run/lastcall/admin.sock";
  std::vector<std::string> operators = {"lastcall-admin"};  // groups
  std::vector<std::string> observers = {"lastcall-view"};
  std::string log_level = "info";        // trace, debug, info, warning or error
  std::vector<ServerConfig> servers;     // at least one; in the order of the files
  std::vector<ProcessConfig> processes;  // every one that a server names, in order of first use
  // Where each value was written, by its name: "server.public.listen". Of the command line: a place
  // without a file. What has none is a default.
  std::map<std::string, SourceLocation> origins;
};

struct ConfigProblem {
  SourceLocation location;
  std::string message;  // what is wrong, and the remedy
};

// "/etc/lastcall/lastcalld.toml:12: unknown key …", without a newline.
std::string Format(const ConfigProblem& problem);
// One line each, every one ended by a newline.
std::string Format(const std::vector<ConfigProblem>& problems);

// As one error, kInvalidArgument: a line each.
Error AsError(const std::vector<ConfigProblem>& problems);

template <class T>
using Checked = tl::expected<T, std::vector<ConfigProblem>>;

// Reads `file` and the drop-ins in the directory NAME.d beside it ("lastcalld.d" for
// "lastcalld.toml"), in lexical order: tables merge, arrays and values replace. Relative paths are
// below the directory of `file`. Does not look at plugins or sockets. Blocks: reads files.
// Fails: with every problem there is, sorted by place.
Checked<Config> LoadConfig(const std::string& file);

// The number in the name of one of this process's own descriptors ("/dev/stdin", or "/dev/fd/63", as
// a shell's <(…) is called), where that is a pipe, a terminal or a socket; empty: anything else.
std::optional<int> PipeNamed(const std::string& path);

// The same of a pipe that the daemon was started with; it has no drop-ins, and relative paths are
// below the current directory. `name` is its place in problems. Blocks: until its writers have closed
// it.
Checked<Config> LoadConfigFromPipe(int fd, const std::string& name);

// Reads what ToToml wrote; `name` is its place in problems. Fails: as LoadConfig.
Checked<Config> ConfigFromText(const std::string& toml, const std::string& name);

// What `lastcalld --plugin PATH… [--listen ADDRESS…]` runs: one server "dev" with reflection, admin
// socket and state in `runtime_dir`. Relative paths are below the current directory; without addresses
// it listens on 127.0.0.1:50051.
Checked<Config> DevelopmentConfig(const std::vector<std::string>& plugins,
                                  const std::vector<std::string>& listen,
                                  const std::string& runtime_dir);

// The effective configuration, defaults included and paths absolute. LoadConfig reads the same from
// the TOML, places apart; the JSON has the same tables.
std::string ToToml(const Config& config);
std::string ToJson(const Config& config);
// The TOML with a comment behind each value: where it was written, "default" or "command line".
std::string ToAnnotatedToml(const Config& config);

// Every value of the effective configuration by its name, "server.public.listen", as TOML has it.
std::map<std::string, std::string> ValuesOf(const Config& config);
// How such a name begins for everything of this server: "server.public.".
std::string ServerPrefix(const std::string& server);
// "process.main.".
std::string ProcessPrefix(const std::string& process);

struct Origin {
  std::string key;  // "server.public.listen"
  enum class Kind { kFile, kCommandLine, kDefault } kind = Kind::kDefault;
  SourceLocation location;  // of kFile
};
// Of every value of the effective configuration, in the order of its text.
std::vector<Origin> OriginsOf(const Config& config);

}  // namespace lastcall
