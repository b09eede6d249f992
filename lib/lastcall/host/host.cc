#include "lastcall/host/host.h"

#include <utility>

#include "lastcall/host/host_loop.h"

namespace lastcall {

Host::Host(HostOptions options) : loop_(std::make_unique<HostLoop>(std::move(options))) {}
Host::~Host() = default;

Result<> Host::AddServer(HostServer server) {
  for (const std::string& text : server.listen) {
    const auto address = Address::Parse(text);
    if (!address) return tl::unexpected(address.error());
    auto listener = Listener::Bind(*address);
    if (!listener) return tl::unexpected(listener.error());
    server.listeners.push_back(std::move(*listener));
  }
  loop_->Add(std::move(server));
  return {};
}

int Host::ReportStartError(const Error& error) const {
  LogToStderr(LogLevel::kError, error.message);
  return ExitCodeFor(error);
}

int Host::Run() { return loop_->Run(); }

void Host::Shutdown(std::string reason, std::optional<Duration> delay,
                    std::optional<Duration> grace, std::optional<Duration> cancel) {
  Request request =
      RequestNow({.kind = Cause::Kind::kProgram, .reason = std::move(reason)}, loop_->clock());
  request.delay = delay;
  request.grace = grace;
  request.cancel = cancel;
  RequestStop(std::move(request));
}

void Host::RequestStop(Request request) {
  request.cause = MadeSafe(std::move(request.cause));
  Timestamp(request, loop_->clock());
  loop_->Post([loop = loop_.get(), request = std::move(request)] { loop->OnRequest(request); });
}

void Host::Adopt(const Plan& plan, std::vector<Ledger::Entry> entries, Succession succession) {
  loop_->Post([loop = loop_.get(), plan, entries = std::move(entries),
               succession = std::move(succession)] { loop->OnAdopt(plan, entries, succession); });
}

void Host::SetAccepting(bool accepting) {
  loop_->Post([loop = loop_.get(), accepting] { loop->OnAccepting(accepting); });
}

void Host::SetDraining(std::string server, bool draining) {
  loop_->Post([loop = loop_.get(), server = std::move(server), draining] {
    loop->OnDraining(server, draining);
  });
}

void Host::Query(std::function<void(const HostReport&)> look) {
  loop_->Post([loop = loop_.get(), look = std::move(look)] { look(loop->Report()); });
}

void Host::ListCalls(CallFilter filter, size_t limit, TakeCalls take) {
  loop_->inspector().List(std::move(filter), limit, std::move(take));
}

void Host::ListFinishedCalls(CallFilter filter, TakeFinished take) {
  loop_->inspector().ListFinished(std::move(filter), std::move(take));
}

void Host::FindCall(uint64_t number, std::function<void(std::optional<CallDetails>)> answer) {
  loop_->inspector().Find(number, std::move(answer));
}

void Host::CancelCalls(CallChoice choice, std::string why, bool dry_run,
                       std::function<void(CallsCancelled)> answer) {
  loop_->inspector().Cancel(std::move(choice), std::move(why), dry_run, std::move(answer));
}

void Host::Dump() {
  loop_->Post([loop = loop_.get()] { loop->OnDump(); });
}

Termination Host::termination() const { return loop_->termination(); }

const Receipt& Host::receipt() const { return loop_->receipt(); }

}  // namespace lastcall
