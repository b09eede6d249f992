#include "options.h"

#include <lastcall/base/safe_text.h>
#include <lastcall/base/spelling.h>

#include <CLI/CLI.hpp>

#include <charconv>

#include "exit_code.h"
#include "text.h"

namespace lastcall {
namespace {

constexpr char kFooter[] = R"(Examples:
  lastcallctl status
  lastcallctl shutdown --delay 5s --grace 1m --reason "new kernel"
  lastcallctl shutdown --dry-run --json
  lastcallctl --timeout 30s wait serving
  lastcallctl reload --dry-run
  lastcallctl drain public --reason "load test"
  lastcallctl calls --method '/shop.Prices/*' --watch
  lastcallctl cancel main/3/4711 --reason "it holds a lock"

A DURATION is 250ms, 5s, 1m30s or infinity; its units are ns us ms s m h d.

The socket is the first of: --socket, $LASTCALL_SOCKET, that of this user's own
lastcalld --plugin ($XDG_RUNTIME_DIR/lastcall/admin.sock, or in
/tmp/lastcall-UID) if there is one, /run/lastcall/admin.sock.

Exit codes: 0 done, 1 failed or calls were cancelled, 2 usage, 3 not serving,
4 no such name, 5 refused, 69 unreachable, 75 timed out, 77 denied.)";

CLI::Option* AddLength(CLI::App* app, const std::string& flag, std::optional<Duration>* target,
                       const std::string& help) {
  return app
      ->add_option_function<std::string>(
          flag,
          [flag, target](const std::string& text) {
            const Result<Duration> length = ParseDuration(text);
            if (!length) throw CLI::ValidationError(flag, length.error().message);
            *target = *length;
          },
          help)
      ->type_name("DURATION");
}

void AddGlobals(CLI::App& app, Options* options) {
  app.add_option("--socket", options->socket, "The daemon's admin socket")->type_name("PATH");
  app.add_flag("--json", options->json, "Print JSON, one object per line");
  AddLength(&app, "--timeout", &options->timeout,
            "Give up after this long (default: 5s for an answer)");
  // Once for all verbs that wait: CLI11 lists what excludes an option, and would list it for each.
  CLI::Option* wait =
      app.add_flag("--wait", options->wait_said, "Wait until it is done (the default)");
  app.add_flag_callback(
         "--no-wait", [options] { options->wait = false; },
         "Request a shutdown, reload or restart, and exit")
      ->excludes(wait);
  app.set_version_flag("--version", "lastcallctl " LASTCALL_VERSION,
                       "Print the version of lastcallctl");
}

CLI::App* AddVerb(CLI::App& app, Options* options, Verb verb, const std::string& name,
                  const std::string& help) {
  CLI::App* sub = app.add_subcommand(name, help)->group("Verbs");
  sub->callback([options, verb] { options->verb = verb; });
  return sub;
}

void AddReason(CLI::App* verb, Options* options) {
  verb->add_option("--reason", options->reason, "Why; shown in status, log and receipt");
}

void AddDrain(CLI::App* verb, Options* options) {
  verb->add_option("SERVER", options->server, "Its name")->required()->type_name("");
  AddReason(verb, options);
}

void AddNote(CLI::App* verb, const std::string& note) {
  verb->footer(note + "\n" + verb->get_footer());
}

void AddShutdown(CLI::App& app, Options* options) {
  CLI::App* verb = AddVerb(app, options, Verb::kShutdown, "shutdown",
                           "Stop the daemon, show progress, print the receipt");
  AddLength(verb, "--delay", &options->delay, "Serve new calls for this long, health NOT_SERVING");
  AddLength(verb, "--grace", &options->grace, "Then let calls in flight finish for this long");
  AddLength(verb, "--cancel", &options->cancel, "Then give cancelled calls this long to return");
  AddReason(verb, options);
  verb->add_flag("--dry-run", options->dry_run, "Only say what the plan would be");
  AddNote(verb,
          "What is left out is as configured. A request can bring the end nearer, never\n"
          "push it back. Ctrl-C ends the waiting, not the shutdown.");
}

void AddReload(CLI::App& app, Options* options) {
  CLI::App* reload = AddVerb(app, options, Verb::kReload, "reload",
                             "Read everything again, replace what has changed");
  AddReason(reload, options);
  reload->add_flag("--dry-run", options->dry_run, "Only say what would change");
  AddNote(reload,
          "No call is lost: the new incarnation takes over before the old one retires. A\n"
          "process whose successor fails goes on unchanged, and the exit code is 1.");
  CLI::App* restart = AddVerb(app, options, Verb::kRestart, "restart",
                              "Replace a process although nothing has changed");
  restart->add_option("PROCESS", options->process, "Its name")->required()->type_name("");
  AddReason(restart, options);
}

// What calls have in common.
void AddFilter(CLI::App* verb, Options* options) {
  // A script's variable that is not set must not let more calls through.
  const auto add = [verb](const char* flag, const char* type, std::string* target,
                          const std::string& help) {
    verb->add_option(flag, *target, help)->type_name(type)->check([](const std::string& text) {
      return text.empty() ? "it is empty" : "";
    });
  };
  add("--server", "NAME", &options->server, "Those of this server alone");
  add("--method", "GLOB", &options->method, "Those of such methods alone: '/shop.Prices/*'");
  add("--peer", "GLOB", &options->peer, "Those of such clients: address or identity");
}

uint32_t ParseCount(const std::string& flag, const std::string& text) {
  uint32_t count = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, count);
  if (error == std::errc() && rest == end) return count;
  throw CLI::ValidationError(flag, "\"" + SafeText(text) + "\" is not a number of calls");
}

void AddCalls(CLI::App& app, Options* options) {
  CLI::App* verb = AddVerb(app, options, Verb::kCalls, "calls",
                           "The calls in flight, or those that have finished");
  AddFilter(verb, options);
  CLI::Option* older = AddLength(verb, "--older", &options->older, "Those at least this old alone");
  CLI::Option* stalled =
      verb->add_flag("--stalled", options->stalled, "Those that make no progress alone, and why");
  CLI::Option* watch =
      verb->add_flag("--watch", options->watch, "Show them once a second, until Ctrl-C");
  CLI::Option* limit = verb->add_option_function<std::string>(
      "--limit",
      [options](const std::string& text) { options->limit = ParseCount("--limit", text); },
      "At most so many, the oldest (default: 1000; 0: all)");
  limit->type_name("N");
  verb->add_flag("--recent", options->recent, "Those that have finished: slowest and last failed")
      ->excludes(older)
      ->excludes(stalled)
      ->excludes(watch)
      ->excludes(limit);
  AddNote(verb,
          "First come calls that are stalled (for longer than stall_after of their server\n"
          "or method), with why; then those that the application holds (waits for: handler,\n"
          "application), then those that wait for their client or for gRPC; the oldest\n"
          "first in each.\n"
          "IDLE is the time since a message came or went. With --json there is no limit\n"
          "unless one is given. Of finished calls, methods with most failures come first.");
  AddVerb(app, options, Verb::kCall, "call", "All about one call, and the stack of its handler")
      ->add_option_function<std::string>(
          "ID", [options](const std::string& id) { options->ids = {id}; },
          "As \"calls\" shows it: main/3/4711")
      ->required()
      ->type_name("");
}

void AddCancel(CLI::App& app, Options* options) {
  CLI::App* verb = AddVerb(app, options, Verb::kCancel, "cancel",
                           "Cancel calls: their clients see CANCELLED, and why");
  verb->add_option("ID", options->ids, "As \"calls\" shows them")->type_name("");
  AddFilter(verb, options);
  AddLength(verb, "--older", &options->older, "Those at least this old alone");
  verb->add_flag("--stalled", options->stalled, "Those that make no progress alone");
  verb->add_option("--reason", options->reason, "Why; their clients see it");
  verb->add_flag("--dry-run", options->dry_run, "Only say how many there are");
  verb->add_flag("--yes", options->yes, "Do not ask");
  AddNote(verb,
          "Without an ID all calls that the options let through are cancelled, once a\n"
          "person on the terminal has said yes to their number.");
}

void AddVerbs(CLI::App& app, Options* options) {
  AddNote(
      AddVerb(app, options, Verb::kStatus, "status", "The daemon, its processes and its servers"),
      "Exits with 3 when the daemon is not serving.");
  AddVerb(app, options, Verb::kServers, "servers", "The servers, or one of them with its methods")
      ->add_option("SERVER", options->server, "Only this one, in detail")
      ->type_name("");
  AddVerb(app, options, Verb::kWatch, "watch", "Print each change until the daemon ends");
  AddShutdown(app, options);
  AddReload(app, options);
  AddDrain(AddVerb(app, options, Verb::kDrain, "drain",
                   "Ask the clients of a server to leave; it serves on"),
           options);
  AddDrain(AddVerb(app, options, Verb::kUndrain, "undrain", "Resume normal service"), options);
  AddCalls(app, options);
  AddCancel(app, options);
  AddVerb(app, options, Verb::kWait, "wait", "Wait until the daemon is serving, or stopped")
      ->add_option("serving|stopped", options->wait_for, "What to wait for")
      ->required()
      ->type_name("")
      ->check([](const std::string& text) {
        const bool known = text == "serving" || text == "stopped";
        return known ? "" : "\"" + text + "\" is neither serving nor stopped";
      });
  AddVerb(app, options, Verb::kConfig, "config", "The configuration in force");
  AddVerb(app, options, Verb::kLogLevel, "log-level", "Set the level of the daemon and its hosts")
      ->add_option("LEVEL", options->level, "trace, debug, info, warning or error")
      ->required()
      ->type_name("");
  AddVerb(app, options, Verb::kVersion, "version", "The versions of lastcallctl and the daemon");
}

int Usage(std::ostream& err, const std::string& message) {
  err << "lastcallctl: " << SafeText(message) << "\nTry \"lastcallctl --help\".\n";
  return kExitUsage;
}

// Of lastcallctl itself and of the verb that was given; empty when none is near.
std::string NearestOption(const CLI::App& app, const std::vector<std::string>& rest) {
  std::vector<std::string> known;
  const auto add = [&](const CLI::App& each) {
    for (const CLI::Option* option : each.get_options()) {
      for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
    }
  };
  add(app);
  for (const CLI::App* verb : app.get_subcommands()) add(*verb);
  const std::string nearest = NearestWord(rest.front().substr(0, rest.front().find('=')), known);
  return nearest.empty() ? "" : "; did you mean \"" + nearest + "\"?";
}

std::string Explain(const CLI::App& app, const CLI::ParseError& error) {
  // Of a verb that is known: an option that it does not have, or one word too many.
  const std::vector<std::string> extra = app.remaining(true);
  if (!app.get_subcommands().empty() && !extra.empty()) {
    const std::string quoted = "\"" + SafeText(extra.front()) + "\"";
    return extra.front().starts_with('-')
               ? "there is no option " + quoted + NearestOption(app, extra)
               : "\"" + app.get_subcommands().front()->get_name() + "\" does not take " + quoted;
  }
  const bool verb_missing =
      app.get_subcommands().empty() &&
      error.get_exit_code() == static_cast<int>(CLI::ExitCodes::RequiredError);
  if (!verb_missing) return error.what();
  const std::vector<std::string> rest = app.remaining();
  if (rest.empty()) return "a verb is missing";
  const std::string quoted = "\"" + SafeText(rest.front()) + "\"";
  if (rest.front().starts_with('-'))
    return "there is no option " + quoted + NearestOption(app, rest);
  std::vector<std::string> known;
  for (const CLI::App* verb : app.get_subcommands({})) known.push_back(verb->get_name());
  return "there is no verb " + quoted + "; " + SpellingHint(rest.front(), known);
}

// Of options that are good by themselves; empty: there is none.
std::string Contradiction(const Options& options) {
  if (options.verb == Verb::kWait && !options.wait) {
    return "wait and --no-wait contradict each other; \"status\" asks once";
  }
  if (options.dry_run && options.wait_said) {
    return "--dry-run excludes --wait: there is nothing to wait for";
  }
  if (options.verb != Verb::kCancel) return "";
  if (!options.ids.empty() && options.filters()) {
    return "cancel takes IDs, or options that say which calls, not both";
  }
  if (options.ids.empty() && !options.filters()) {
    return "cancel what? Give IDs, or at least one of --server, --method, --peer, "
           "--older and --stalled";
  }
  return "";
}

}  // namespace

tl::expected<Options, int> ParseOptions(int argc, const char* const* argv, std::ostream& out,
                                        std::ostream& err) {
  Options options;
  CLI::App app("Queries and controls lastcalld, a service supervisor daemon for gRPC.",
               "lastcallctl");
  app.fallthrough();
  app.require_subcommand(1);
  app.footer("\"lastcallctl --help\" shows what every verb takes, and the exit codes.");
  app.get_formatter()->column_width(28);
  app.get_formatter()->label("SUBCOMMAND", "VERB");
  app.get_formatter()->label("Excludes", "not with");
  AddGlobals(app, &options);
  AddVerbs(app, &options);
  app.footer(kFooter);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& done) {
    app.exit(done, out, err);
    return tl::unexpected<int>(kExitDone);
  } catch (const CLI::ParseError& error) {
    return tl::unexpected<int>(Usage(err, Explain(app, error)));
  }
  if (const std::string wrong = Contradiction(options); !wrong.empty()) {
    return tl::unexpected<int>(Usage(err, wrong));
  }
  return options;
}

}  // namespace lastcall
