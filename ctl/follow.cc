// The verbs that follow the daemon's stream of events: watch, shutdown, wait.
#include <lastcall/base/json.h>
#include <lastcall/base/safe_text.h>

#include "changes.h"
#include "events.h"
#include "json_output.h"
#include "progress.h"
#include "render.h"
#include "render_receipt.h"
#include "verbs.h"

namespace lastcall {
namespace {

using admin::v1::ReceiptEvent;
using admin::v1::Status;
using admin::v1::WatchResponse;

// Between two attempts to reach a daemon that is not there. Trying again beats inotify here: the
// directory may not exist yet either, and a socket file is no proof that somebody listens on it.
constexpr Duration kRetry = std::chrono::milliseconds(50);

// After the receipt there is nothing to come but the end of the stream, and of a daemon that hangs
// not even that.
constexpr Duration kEndAfterReceipt = std::chrono::seconds(5);

Deadline AfterReceipt(const Session& session) {
  return Deadline(std::min(session.end().at(), After(session.clock().Now(), kEndAfterReceipt)));
}

std::string JsonOf(const ReceiptEvent& event) {
  return event.json().empty() ? WithKind("Receipt", ToJson(event.receipt())) : event.json();
}

void PrintReceipt(Session& session, const ReceiptEvent& event) {
  if (session.options().json) {
    session.out() << JsonOf(event) << "\n";
  } else {
    session.out() << RenderReceipt(event.receipt(), session.look());
  }
}

int ExitCodeOf(const v1::Receipt& receipt) {
  return receipt.exit_code() == 0 ? kExitDone : kExitFailed;
}

// Hands each snapshot to `on_status` until the receipt has come and the stream has ended. Nothing:
// the stream ended without a receipt. Fails: as the stream does.
template <class OnStatus>
Result<std::optional<ReceiptEvent>> ReadReceipt(Session& session, Events& events,
                                                OnStatus on_status) {
  std::optional<ReceiptEvent> receipt;
  Deadline by = session.end();
  while (true) {
    Result<std::optional<WatchResponse>> event = events.Next(by);
    // Once there is a receipt, how the stream ends does not matter: the daemon ends with it.
    if (receipt && !(event && *event)) return receipt;
    if (!event) return tl::unexpected(event.error());
    if (!*event) return std::nullopt;
    if ((*event)->has_status()) on_status((*event)->status());
    if ((*event)->has_receipt()) {
      receipt = std::move(*(*event)->mutable_receipt());
      by = AfterReceipt(session);
    }
  }
}

admin::v1::ShutdownRequest ShutdownRequestOf(const Options& options) {
  admin::v1::ShutdownRequest request;
  if (options.delay) request.set_delay_s(ToSeconds(*options.delay));
  if (options.grace) request.set_grace_s(ToSeconds(*options.grace));
  if (options.cancel) request.set_cancel_s(ToSeconds(*options.cancel));
  request.set_reason(options.reason);
  request.set_dry_run(options.dry_run);
  return request;
}

int AskForPlan(Session& session) {
  const Options& options = session.options();
  const auto response = session.Ask([&](AdminClient& client) {
    return client.Shutdown(ShutdownRequestOf(options), session.AnswerBy());
  });
  if (!response) return session.Fail(response.error());
  if (options.json) {
    session.out() << WithKind("Plan", ToJson(*response)) << "\n";
  } else {
    session.out() << RenderShutdownResponse(*response, options.dry_run, session.look());
  }
  return kExitDone;
}

int NoReceipt(Session& session, const Error& error, const Status& last) {
  if (error.code == Code::kDeadlineExceeded) {
    const std::string where =
        last.stage() == v1::STAGE_UNSPECIFIED ? "" : " (" + ProgressLine(last) + ")";
    return session.Fail(kExitTimedOut,
                        "gave up waiting; lastcalld goes on stopping by itself" + where);
  }
  return session.Fail(kExitFailed, "lastcalld ended without a receipt (" + error.message +
                                       "); its log may say why");
}

int FollowShutdown(Session& session, Events& events) {
  Progress progress(session.out(), session.look(), session.live());
  Status last;
  const auto receipt = ReadReceipt(session, events, [&](const Status& status) {
    if (!session.options().json) progress.Show(status);
    last = status;
  });
  progress.Clear();
  if (!receipt) return NoReceipt(session, receipt.error(), last);
  if (!*receipt) return NoReceipt(session, {Code::kUnknown, "the stream of events ended"}, last);
  PrintReceipt(session, **receipt);
  return ExitCodeOf((*receipt)->receipt());
}

class EventPrinter {
 public:
  explicit EventPrinter(Session& session) : session_(session) {}

  void Print(const WatchResponse& event) {
    if (session_.options().json) {
      PrintJson(event);
    } else if (event.has_receipt()) {
      PrintLine("stopped");
      PrintReceipt(session_, event.receipt());
    } else if (!seen_) {
      PrintLine(Summary(event.status()));
    } else {
      for (const std::string& line : Changes(last_, event.status())) PrintLine(line);
    }
    if (event.has_status()) last_ = event.status();
    seen_ = true;
  }

 private:
  std::string Now() const { return FormatWallTime(session_.clock().Wall()); }

  void PrintLine(const std::string& line) {
    const std::string begin = Now() + "  ";
    session_.Print(begin + line, std::string(begin.size(), ' '));
    session_.out() << std::flush;
  }

  void PrintJson(const WatchResponse& event) {
    JsonWriter json;
    json.BeginObject().Key("at").String(Now());
    if (event.has_status()) json.Key("status").Raw(ToJson(event.status()));
    if (event.has_receipt()) json.Key("receipt").Raw(JsonOf(event.receipt()));
    json.EndObject();
    session_.out() << WithKind("Event", json.text()) << std::endl;
  }

  Session& session_;
  Status last_;
  bool seen_ = false;
};

// Whether this snapshot answers `wait serving`, and how.
std::optional<int> ServingOrNever(Session& session, const WatchResponse& event) {
  const v1::Stage stage = event.status().stage();
  if (event.has_receipt() || (stage != v1::STAGE_SERVING && stage != v1::STAGE_STARTING)) {
    return session.Fail(kExitNotServing, "lastcalld is stopping");
  }
  if (stage != v1::STAGE_SERVING) return std::nullopt;
  if (session.options().json) {
    session.out() << WithKind("Status", ToJson(event.status())) << "\n";
  } else {
    session.out() << "serving, pid " << event.status().pid() << "\n";
  }
  return kExitDone;
}

// Follows one daemon. Nothing: it is gone without a receipt, and another may come.
std::optional<int> WatchUntilServing(Session& session, AdminClient client) {
  Events events(session, std::move(client));
  while (true) {
    const Result<std::optional<WatchResponse>> event = events.Next(session.end());
    if (!event && event.error().code != Code::kUnavailable) return session.Fail(event.error());
    if (!event || !*event) return std::nullopt;
    if (const std::optional<int> answer = ServingOrNever(session, **event)) return answer;
  }
}

int Stopped(Session& session, const std::optional<ReceiptEvent>& receipt) {
  if (receipt && session.options().json) {
    PrintReceipt(session, *receipt);
  } else if (receipt) {
    session.Print(SafeText(receipt->receipt().outcome()));
  } else if (session.options().json) {
    Status status;
    status.set_stage(v1::STAGE_STOPPED);
    session.out() << WithKind("Status", ToJson(status)) << "\n";
  } else {
    session.out() << "stopped\n";
  }
  return kExitDone;
}

}  // namespace

int RunWatch(Session& session) {
  auto client = session.Connect();
  if (!client) return session.Fail(client.error());
  Events events(session, std::move(*client));
  EventPrinter printer(session);
  std::optional<int> ended;  // the receipt has come, and this is what it comes to
  Deadline by = session.end();
  while (true) {
    const Result<std::optional<WatchResponse>> event = events.Next(by);
    if (ended && !(event && *event)) return *ended;
    if (!event) return session.Fail(event.error());
    if (!*event) return session.Fail(kExitFailed, "lastcalld ended the stream without a receipt");
    printer.Print(**event);
    if ((*event)->has_receipt()) {
      ended = ExitCodeOf((*event)->receipt().receipt());
      by = AfterReceipt(session);
    }
  }
}

int RunShutdown(Session& session) {
  if (session.options().dry_run || !session.options().wait) return AskForPlan(session);
  auto client = session.Connect();
  if (!client) return session.Fail(client.error());
  Events events(session, std::move(*client));
  // The first snapshot proves that the stream is there before the daemon is told to stop: an idle
  // one stops within milliseconds.
  const auto first = events.Next(session.AnswerBy());
  if (!first && first.error().code == Code::kResourceExhausted) {
    // Too many watch already. That must keep nobody from stopping it.
    const int asked = AskForPlan(session);
    return asked != kExitDone
               ? asked
               : session.Fail(kExitTimedOut,
                              "the shutdown is on its way, but cannot be waited for: " +
                                  first.error().message);
  }
  if (!first) return session.Fail(first.error());
  while (true) {
    const auto response =
        events.client().Shutdown(ShutdownRequestOf(session.options()), session.AnswerBy());
    if (!response && response.error().code != Code::kUnavailable)
      return session.Fail(response.error());
    // One that was ending already may be gone before it answers; its receipt is still to come. Of
    // one that gave way to another build, the other one is asked.
    if (response || !events.HandedOver(session.AnswerBy())) break;
  }
  return FollowShutdown(session, events);
}

int RunWaitServing(Session& session) {
  while (true) {
    auto client = session.TryConnect();
    if (client) {
      if (const std::optional<int> answer = WatchUntilServing(session, std::move(*client)))
        return *answer;
    } else if (!NobodyThere(client.error())) {
      return session.Fail(ExplainConnect(session.socket(), client.error()));
    }
    if (session.end().Passed(session.clock().Now())) {
      return session.Fail(kExitTimedOut,
                          "lastcalld is not serving yet at " + session.socket().path);
    }
    session.Pause(std::min(kRetry, session.end().Remaining(session.clock().Now())));
  }
}

int RunWaitStopped(Session& session) {
  while (true) {
    auto client = session.TryConnect();
    if (!client && NobodyThere(client.error())) return Stopped(session, std::nullopt);
    if (!client) return session.Fail(ExplainConnect(session.socket(), client.error()));
    Events events(session, std::move(*client));
    const auto receipt = ReadReceipt(session, events, [](const Status&) {});
    if (receipt && *receipt) return Stopped(session, *receipt);
    if (!receipt && receipt.error().code != Code::kUnavailable) {
      return session.Fail(receipt.error());
    }
    // The stream broke: the daemon died, and may be there again.
    session.Pause(kRetry);
  }
}

}  // namespace lastcall
