#include "lastcall/plugin/plugin_offload.h"

#include <grpc/support/time.h>
#include <grpcpp/server_context.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <functional>
#include <system_error>
#include <thread>

#include "lastcall/base/safe_text.h"
#include "lastcall/rpc/call_directory.h"
#include "lastcall/rpc/live_call.h"

namespace lastcall {
namespace {

// What clients are told.
Error Late() { return {Code::kDeadlineExceeded, "the work was not done in time"}; }
Error Gone() { return {Code::kCancelled, "the call was cancelled"}; }
Error Threw() { return {Code::kInternal, "the work failed; the server's log says how"}; }
Error Busy() {
  return {Code::kResourceExhausted,
          "the server has too much of this work already; try again later"};
}

// How long a thread without work waits for more.
constexpr Duration kRest = std::chrono::seconds(10);

Instant ClientsDeadline(const grpc::ServerContextBase& context, const Clock& clock) {
  const gpr_timespec given = context.raw_deadline();
  if (gpr_time_cmp(given, gpr_inf_future(given.clock_type)) == 0) return kNever;
  // By what is left of it, for the clock need not be the machine's.
  const gpr_timespec left = gpr_time_sub(gpr_convert_clock_type(given, GPR_CLOCK_MONOTONIC),
                                         gpr_now(GPR_CLOCK_MONOTONIC));
  return After(clock.Now(),
               std::chrono::seconds(left.tv_sec) + std::chrono::nanoseconds(left.tv_nsec));
}

}  // namespace

struct PluginOffload::Piece {
  Instant by{};
  std::string method;
  Done done;
  uint64_t id = 0;
  std::shared_ptr<OffloadThreads::Item> item;
  // Goes without the mutex, which the callback takes.
  std::optional<std::stop_callback<std::function<void()>>> gone;
};

PluginOffload::PluginOffload(const OffloadLimits& limits, const Clock& clock, Log log)
    : limits_(limits),
      clock_(clock),
      log_(std::move(log)),
      threads_({.threads = limits.threads, .queue = limits.queue, .rest = kRest}) {}

void PluginOffload::Begin(const grpc::ServerContextBase& context, std::optional<Instant> by,
                          Work work, Done done) {
  const auto call = CallDirectory::Find(&context);
  const Instant wanted = by ? *by : After(clock_.Now(), limits_.deadline);
  const auto piece = std::make_shared<Piece>();
  piece->by = std::min(wanted, ClientsDeadline(context, clock_));
  piece->method = call != nullptr ? call->method().name : "a call";
  piece->done = std::move(done);
  if (const auto refusal = TryBegin(piece, std::move(work))) return Tell(*piece, &*refusal);
  if (call == nullptr) return;
  // Told at once where that has happened; and the piece may have been answered by now.
  piece->gone.emplace(call->gone_token(), [weak = weak_from_this(), id = piece->id] {
    if (const auto self = weak.lock()) self->Unwanted(id);
  });
}

std::optional<Error> PluginOffload::TryBegin(const std::shared_ptr<Piece>& piece, Work work) {
  std::lock_guard lock(mutex_);
  if (closed_) return closed_;
  if (piece->by <= clock_.Now()) {
    ++late_;
    return Late();
  }
  const uint64_t id = piece->id = ++last_;
  const auto self = shared_from_this();
  try {
    NeedTimekeeper();
  } catch (const std::system_error&) {
    ++refused_;
    return Busy();
  }
  auto begun = threads_.Begin(
      [self, id, by = piece->by, method = piece->method, work = std::move(work)](
          const std::stop_token& stop) { self->RunWork(id, by, method, work, stop); },
      [self, id](const Error* error) { self->Answer(id, error); });
  if (!begun) {
    ++refused_;
    return Busy();
  }
  ++begun_;
  piece->item = std::move(*begun);
  pieces_.emplace(id, piece);
  const auto place = instants_.emplace(piece->by, id).first;
  if (place == instants_.begin()) changed_.notify_one();
  return std::nullopt;
}

void PluginOffload::RunWork(uint64_t id, Instant by, const std::string& method, const Work& work,
                            const std::stop_token& stop) {
  if (stop.stop_requested()) return;
  const Instant now = clock_.Now();
  if (by <= now) return AnswerWith(id, Late());
  {
    std::lock_guard lock(mutex_);
    running_.emplace(id, Running{method, now, gettid()});
  }
  std::optional<std::string> thrown;
  try {
    work(stop);
  } catch (const std::exception& error) {
    thrown = SafeText(error.what());
  } catch (...) {
    thrown = "an exception of an unknown type";
  }
  {
    std::lock_guard lock(mutex_);
    running_.erase(id);
  }
  if (!thrown) return;
  log_(LogLevel::kError, "offloaded work of " + method + " threw: " + *thrown);
  AnswerWith(id, Threw());
}

// Whoever was answered before is not answered again.
void PluginOffload::Answer(uint64_t id, const Error* error) {
  std::shared_ptr<Piece> piece;
  {
    std::lock_guard lock(mutex_);
    piece = Take(id);
    if (piece != nullptr && error != nullptr && error->code == Code::kDeadlineExceeded) ++late_;
  }
  if (piece != nullptr) Tell(*piece, error);
}

void PluginOffload::Tell(const Piece& piece, const Error* error) const {
  try {
    piece.done(error);
  } catch (const std::exception& thrown) {
    log_(LogLevel::kError,
         "the answer to offloaded work of " + piece.method + " threw: " + SafeText(thrown.what()));
  } catch (...) {
    log_(LogLevel::kError, "the answer to offloaded work of " + piece.method +
                               " threw an exception of an unknown type");
  }
}

void PluginOffload::AnswerWith(uint64_t id, const Error& error) { Answer(id, &error); }

void PluginOffload::Unwanted(uint64_t id) {
  std::lock_guard lock(mutex_);
  if (!pieces_.contains(id)) return;
  unwanted_.push_back(id);
  changed_.notify_one();
}

void PluginOffload::NeedTimekeeper() {
  if (keeping_time_) return;
  std::thread([self = shared_from_this()] { self->KeepTime(); }).detach();
  keeping_time_ = true;
}

std::shared_ptr<PluginOffload::Piece> PluginOffload::Take(uint64_t id) {
  auto piece = pieces_.extract(id);
  if (piece.empty()) return nullptr;
  instants_.erase({piece.mapped()->by, id});
  return std::move(piece.mapped());
}

PluginOffload::Due PluginOffload::TakeDue() {
  Due due;
  for (const uint64_t id : std::exchange(unwanted_, {})) {
    if (auto piece = Take(id)) due.emplace_back(std::move(piece), Gone());
  }
  const Instant now = clock_.Now();
  while (!instants_.empty() && (closed_ || instants_.begin()->first <= now)) {
    const auto [by, id] = *instants_.begin();
    if (by <= now) ++late_;
    due.emplace_back(Take(id), by <= now ? Late() : *closed_);
  }
  return due;
}

void PluginOffload::WaitForDue(std::unique_lock<std::mutex>& lock) {
  const Instant next = instants_.empty() ? kNever : instants_.begin()->first;
  if (next == kNever) return changed_.wait(lock);
  // By what is left of it, see above.
  const Duration left = next - clock_.Now();
  changed_.wait_for(lock, std::min<Duration>(left, std::chrono::hours(24)));
}

// The one thread that answers for work which does not.
void PluginOffload::KeepTime() {
  pthread_setname_np(pthread_self(), "offload-time");
  std::unique_lock lock(mutex_);
  for (;;) {
    Due due = TakeDue();
    if (due.empty() && closed_) break;
    if (due.empty()) {
      WaitForDue(lock);
      continue;
    }
    lock.unlock();
    for (const auto& [piece, error] : due) {
      threads_.Abandon(*piece->item);
      Tell(*piece, &error);
    }
    due.clear();  // what it captured may end in its own time
    lock.lock();
  }
  keeping_time_ = false;
  kept_.notify_all();
}

void PluginOffload::Close(const Error& error) {
  std::lock_guard lock(mutex_);
  if (!closed_) closed_ = error;
  changed_.notify_one();
}

void PluginOffload::OnTick() {
  std::lock_guard lock(mutex_);
  changed_.notify_one();
}

void PluginOffload::WaitIdle() {
  {
    std::unique_lock lock(mutex_);
    kept_.wait(lock, [this] { return !keeping_time_; });
  }
  threads_.WaitIdle(kNever);
}

OffloadCounts PluginOffload::counts() const {
  const OffloadThreads::Counts counts = threads_.counts();
  std::lock_guard lock(mutex_);
  return {.busy = counts.working,
          .abandoned = counts.abandoned,
          .queued = counts.queued,
          .most_queued = counts.most_queued,
          .begun = begun_,
          .refused = refused_,
          .late = late_};
}

std::vector<PluginOffload::Running> PluginOffload::running() const {
  std::lock_guard lock(mutex_);
  std::vector<Running> all;
  for (const auto& [id, one] : running_) all.push_back(one);
  return all;
}

const OffloadLimits& Offload::limits() const { return inside_->limits(); }

OffloadCounts Offload::counts() const { return inside_->counts(); }

void Offload::Enqueue(const grpc::ServerContextBase& context, std::optional<Instant> by,
                      std::function<void(const std::stop_token&)> work,
                      std::function<void(const Error*)> done) const {
  inside_->Begin(context, by, std::move(work), std::move(done));
}

}  // namespace lastcall
