// What a verb works with. Made in main; tests put a clock and streams of their own in its place.
#pragma once

#include <lastcall/base/clock.h>
#include <lastcall/base/result.h>

#include <sys/types.h>

#include <functional>
#include <optional>
#include <ostream>
#include <type_traits>

#include "client.h"
#include "exit_code.h"
#include "options.h"
#include "socket.h"
#include "text.h"

namespace lastcall {

class Session {
 public:
  struct World {
    const Clock& clock;
    std::function<void(Duration)> pause;  // between two attempts to reach the daemon
    std::ostream& out;
    std::ostream& err;
    Look look;                      // of `out`
    Look err_look;                  // of `err`; its colours are not used
    bool live = false;              // `out` is a terminal on which lines can be redrawn
    std::function<Look()> measure;  // `look` once more; null: it stays as it is
    std::function<bool(const std::string&)> confirm;  // asks a person; null: there is none
  };

  Session(const Options& options, const World& world);

  const Options& options() const { return options_; }
  const Clock& clock() const { return world_.clock; }
  std::ostream& out() { return world_.out; }
  const Look& look() const { return world_.look; }
  // A line of text, made safe already; folded where a person reads it.
  void Print(const std::string& line, std::string_view indent = "  ") {
    world_.out << Folded(line, indent, world_.look) << "\n";
  }
  bool live() const { return world_.live; }
  // `look` now: a terminal may have another size than before.
  Look Measure() const { return world_.measure ? world_.measure() : world_.look; }
  bool has_person() const { return world_.confirm != nullptr; }
  // Blocks: until the person has answered. False: they did not say yes.
  bool Confirm(const std::string& question) { return world_.confirm(question); }
  const SocketPath& socket() const { return socket_; }

  // When the whole command must be over; never without --timeout.
  Deadline end() const { return end_; }
  // When the daemon must have answered a question that is asked now.
  Deadline AnswerBy() const;

  void Pause(Duration length) { world_.pause(length); }

  // errno on failure.
  tl::expected<AdminClient, int> TryConnect();
  Result<AdminClient> Connect();
  // To the daemon that the last connection was to and that has ended it, if it is still there: it has
  // executed another build of itself, and its process is the same. Nothing: it is gone, or has done
  // this a few times already, for it has another reason.
  std::optional<AdminClient> Reconnect();

  // Connects and asks; where the daemon gives way to another build of itself meanwhile (kUnavailable),
  // that one too. So nothing that must not be done twice.
  template <class Question>
  auto Ask(Question question) -> std::invoke_result_t<Question, AdminClient&> {
    auto client = Connect();
    if (!client) return tl::unexpected(client.error());
    auto response = question(*client);
    while (!response && response.error().code == Code::kUnavailable) {
      auto again = Reconnect();
      if (!again) return response;
      response = question(*again);
    }
    if (response) reconnects_ = 0;  // it is there, and may give way again
    return response;
  }

  // Says what is wrong on stderr. The exit code that belongs to it.
  int Fail(const Error& error);
  int Fail(ExitCode code, const std::string& message);

 private:
  const Options& options_;
  World world_;
  SocketPath socket_;
  Deadline end_;
  pid_t daemon_ = 0;  // that the last connection was to; 0: not known
  int reconnects_ = 0;
};

}  // namespace lastcall
