#include "daemon/options.h"

#include <algorithm>

#include <CLI/CLI.hpp>

#include <lastcall/base/spelling.h>

namespace lastcall {
namespace {

constexpr char kDefaultConfig[] = "/etc/lastcall/lastcalld.toml";

constexpr char kHelp[] =
    R"(lastcalld hosts gRPC services, keeps them running, and stops them without losing
a call.

  lastcalld [--config FILE] [--check]
  lastcalld --plugin PATH... [--listen ADDRESS...]

  --config FILE     the configuration (default: /etc/lastcall/lastcalld.toml)
  --check           check the configuration, try its plugins, print how long a
                    stop can take at most, and exit
  --plugin PATH     run this plugin without a configuration, for development;
                    may be given more than once. Reflection is on; the admin
                    socket is in $XDG_RUNTIME_DIR/lastcall, or without that
                    variable in /tmp/lastcall-UID, where lastcallctl finds it
  --listen ADDRESS  with --plugin: "127.0.0.1:50051" (the default), "*:50051",
                    "unix:./dev.sock"; may be given more than once
  --version         print the version
  --help, -h        print this

Signals: SIGTERM stops it in stages, SIGINT without delay, SIGQUIT cancels the
calls; a second SIGTERM or SIGINT skips to the next stage. SIGHUP reloads.
SIGUSR1 logs calls and stacks. lastcallctl can do more.

Exit codes: 0 every call finished, 3 calls were cancelled, 4 something had to be
forced, 64 usage, 69 cannot bind, 70 internal error, 78 configuration.
)";

const std::vector<std::string> kNames = {"--config", "--check",   "--plugin",
                                         "--listen", "--version", "--help"};

// One line, with what to do about it.
std::string Explain(const CLI::App& app, const CLI::ParseError& error) {
  const std::vector<std::string> extra = app.remaining();
  if (!extra.empty()) {
    const std::string& first = extra.front();
    if (!first.starts_with("-")) {
      return "unexpected argument \"" + first + "\"; write --config " + first + " or --plugin " +
             first;
    }
    const std::string name = first.substr(0, first.find('='));
    return "unknown option " + name + "; " + SpellingHint(name, kNames);
  }
  std::string text = error.what();  // of a value that is missing: "--config: 1 required …"
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr) {
    text = text.substr(0, text.find(':')) + " needs a value";
  }
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text + "; see lastcalld --help";
}

std::string Contradiction(const Options& options, const std::vector<std::string>& configs) {
  if (configs.size() > 1) return "--config was given twice; name one file";
  if (!options.plugins.empty() && !configs.empty()) {
    return "--config and --plugin exclude each other; name the plugin in the configuration";
  }
  if (!options.plugins.empty() && options.check) {
    return "--check checks a configuration; write it with --config, without --plugin";
  }
  if (options.plugins.empty() && !options.listen.empty()) {
    return "--listen needs --plugin; with a configuration write listen in [server.NAME]";
  }
  if (!configs.empty() && configs.front().empty()) return "--config needs the path of a file";
  return "";
}

}  // namespace

tl::expected<Options, std::string> Parse(int argc, const char* const* argv) {
  Options options;
  CLI::App app;
  app.set_help_flag("");
  std::vector<std::string> configs;
  app.add_option("--config", configs)->allow_extra_args(false);
  app.add_flag("--check", options.check);
  app.add_option("--plugin", options.plugins);
  app.add_option("--listen", options.listen);
  app.add_flag("--version", options.version);
  app.add_flag("-h,--help", options.help);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return tl::unexpected(Explain(app, error));
  }
  if (options.help) {
    options.text = kHelp;
    return options;
  }
  if (options.version) {
    options.text = "lastcalld " LASTCALL_VERSION "\n";
    return options;
  }
  const std::string wrong = Contradiction(options, configs);
  if (!wrong.empty()) return tl::unexpected(wrong);
  if (options.plugins.empty()) options.config = configs.empty() ? kDefaultConfig : configs.front();
  return options;
}

}  // namespace lastcall
