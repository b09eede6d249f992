// lastcallctl: asks and directs lastcalld. Options → verb → exit code.
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <string_view>
#include <thread>

#include <lastcall/base/safe_text.h>

#include "options.h"
#include "verbs.h"

#include <lastcall/base/descriptors.h>

namespace {

constexpr size_t kNarrowestLive = 60;  // below, the redrawn lines would wrap
constexpr int kDescriptors = 16;       // gRPC's, for a connection

bool IsSet(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr && *value != '\0';
}

bool IsDumb() {
  const char* terminal = std::getenv("TERM");
  return terminal == nullptr || std::string_view(terminal) == "dumb";
}

// Folds where a person looks at it, at the width of the terminal.
lastcall::Look LookOf(int fd) {
  lastcall::Look look;
  winsize size{};
  look.folds = ::isatty(fd) != 0;
  if (look.folds && ::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    look.width = size.ws_col;
    if (size.ws_row > 0) look.height = size.ws_row;
  }
  return look;
}

lastcall::Look LookOfStdout() {
  lastcall::Look look = LookOf(STDOUT_FILENO);
  look.colour = look.folds && !IsDumb() && !IsSet("NO_COLOR");
  return look;
}

// On stderr, for stdout is for data. Anything but a yes is a no.
bool AskPerson(const std::string& question) {
  std::cerr << question << " [y/N] " << std::flush;
  std::string answer;
  std::getline(std::cin, answer);
  return answer == "y" || answer == "Y" || answer == "yes";
}

lastcall::Session::World RealWorld(const lastcall::Clock& clock) {
  lastcall::Session::World world{
      .clock = clock,
      .pause = [](lastcall::Duration length) { std::this_thread::sleep_for(length); },
      .out = std::cout,
      .err = std::cerr,
      .look = LookOfStdout(),
      .err_look = LookOf(STDERR_FILENO),
      .measure = LookOfStdout};
  world.live = world.look.folds && !IsDumb() && world.look.width >= kNarrowestLive;
  if (::isatty(STDIN_FILENO) != 0 && world.err_look.folds) world.confirm = AskPerson;
  return world;
}

}  // namespace

int main(int argc, char** argv) try {
  const auto options = lastcall::ParseOptions(argc, argv, std::cout, std::cerr);
  if (!options) return options.error();
  if (const auto enough = lastcall::CheckDescriptors(kDescriptors); !enough) {
    std::cerr << "lastcallctl: " << enough.error().message << "\n";
    return lastcall::kExitFailed;
  }
  const lastcall::SteadyClock clock;
  lastcall::Session session(*options, RealWorld(clock));
  const int exit_code = lastcall::RunVerb(session);
  // A full disk must not look like success.
  if (!std::cout.flush()) return session.Fail(lastcall::kExitFailed, "cannot write to stdout");
  return exit_code;
} catch (const std::exception& error) {
  std::cerr << "lastcallctl: " << lastcall::SafeText(error.what()) << "\n";
  return lastcall::kExitFailed;
}
