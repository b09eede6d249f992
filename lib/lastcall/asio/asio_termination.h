// AsioTermination: waiting for stages in Boost.Asio programs, by any completion token.
//
//   lastcall::AsioTermination termination(io.get_executor(), program.termination());
//   co_await termination.AsyncReached(lastcall::Stage::kGrace, boost::asio::use_awaitable);
//   termination.AsyncReached(lastcall::Stage::kCancel, [&](boost::system::error_code error) { … });
#pragma once

#include <array>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/query.hpp>

#include <lastcall/event/notices.h>
#include <lastcall/lifecycle/termination.h>

namespace lastcall {

// One in each execution context: it says when the context goes.
class AsioContextEnd final : public boost::asio::execution_context::service {
 public:
  using key_type = AsioContextEnd;
  static inline boost::asio::execution_context::id id;

  explicit AsioContextEnd(boost::asio::execution_context& context) : service(context) {}

  Notices notices;

 private:
  void shutdown() override { notices.NotifyLast(); }
};

// An I/O object, as a timer is: operations wait, Cancel and destruction end them early. That is how
// Boost 1.74 cancels (cancellation slots came with 1.77).
//
// Threads: any, for AsyncReached and Cancel. Waiters: any number; those of one stage cost one
// message to the executor together, no descriptor and no thread. An operation that waits keeps its
// context's run() from returning. Handlers never run inside AsyncReached. Those that run in the I/O
// executor itself run one after another in one thread, also in a pool of many: they must not block.
// Once a handler has stopped the io_context, the others run when it runs again, but for fifteen at
// most. What the host wrote before the stage is visible in all.
// Order: destroyed before the execution context, as every I/O object is, or by it: handlers that
// wait when the context goes are destroyed with it, never called, and may own this.
template <class IoExecutor>
class AsioTermination {
 public:
  using executor_type = IoExecutor;

  AsioTermination(IoExecutor executor, Termination termination)
      : state_(std::make_shared<State>(std::move(executor), std::move(termination))) {
    state_->EndWithContext();
  }
  AsioTermination(AsioTermination&&) noexcept = default;
  // Operations that wait end with boost::asio::error::operation_aborted.
  ~AsioTermination() {
    if (state_ != nullptr) state_->End();
  }

  executor_type get_executor() const noexcept { return state_->executor; }
  const Termination& view() const { return state_->termination; }

  // Completes with void(boost::system::error_code): none once the stage is reached,
  // operation_aborted after Cancel. Stages as in Termination::Wait.
  template <class CompletionToken>
  auto AsyncReached(Stage stage, CompletionToken&& token) {
    return boost::asio::async_initiate<CompletionToken, void(boost::system::error_code)>(
        [state = state_](auto handler, Stage awaited) {
          State::Add(state, awaited, std::move(handler));
        },
        token, stage);
  }

  // Ends every operation that waits. Returns how many.
  size_t Cancel() { return state_->Cancel(); }

 private:
  using Loop = boost::asio::io_context;

  // Null: none that can be asked whether it was stopped.
  static const Loop* LoopOf(const IoExecutor& executor) {
    const Loop::executor_type* io = nullptr;
    if constexpr (std::is_same_v<IoExecutor, Loop::executor_type>) {
      io = &executor;
    } else if constexpr (std::is_same_v<IoExecutor, boost::asio::any_io_executor>) {
      io = executor.template target<Loop::executor_type>();
    }
    return io == nullptr ? nullptr : &boost::asio::query(*io, boost::asio::execution::context);
  }

  // Operations of one kind of handler that wait, side by side in memory: ten thousand coroutines are
  // resumed one after another.
  class Batch {
   public:
    explicit Batch(const void* kind) : kind_(kind) {}
    Batch(const Batch&) = delete;
    virtual ~Batch() = default;

    // In the I/O executor: lets the handlers run where they belong, until `loop` (may be null) is
    // stopped. Where one throws or stops the loop, the next call goes on behind it.
    virtual void Complete(boost::system::error_code error, const Loop* loop) = 0;
    virtual size_t size() const = 0;
    const void* kind() const { return kind_; }

   private:
    const void* const kind_;
  };

  template <class Handler>
  class BatchOf final : public Batch {
   public:
    static inline char mark = 0;  // its address is the kind

    BatchOf() : Batch(&mark) {}
    void Add(Handler handler) { handlers_.push_back(std::move(handler)); }
    void Complete(boost::system::error_code error, const Loop* loop) override {
      while (next_ < handlers_.size()) {
        // To ask takes a lock, which for each of ten thousand would be a tenth of the time.
        if (loop != nullptr && next_ % 16 == 0 && loop->stopped()) return;
        // The handler may do anything, so it is in nobody's hands while it runs.
        Handler(std::move(handlers_[next_++]))(error);
      }
    }
    size_t size() const override { return handlers_.size() - next_; }

   private:
    std::vector<Handler> handlers_;
    size_t next_ = 0;
  };

  // A handler that has an executor of its own.
  template <class Handler, class HandlerExecutor>
  struct Dispatched {
    Handler handler;
    boost::asio::executor_work_guard<HandlerExecutor> work;
    void operator()(boost::system::error_code error) {
      boost::asio::dispatch(work.get_executor(),
                            [one = std::move(handler), error]() mutable { one(error); });
    }
  };

  // In the order in which they came.
  class Operations {
   public:
    template <class Handler>
    void Add(Handler handler, const IoExecutor& io) {
      using HandlerExecutor = typename boost::asio::associated_executor<Handler, IoExecutor>::type;
      const HandlerExecutor executor = boost::asio::get_associated_executor(handler, io);
      // Of a handler that runs in the I/O executor itself, as a coroutine in its loop does.
      bool direct = false;
      if constexpr (std::is_same_v<HandlerExecutor, IoExecutor>) {
        direct = executor == io;
      } else if constexpr (std::is_same_v<HandlerExecutor, boost::asio::any_io_executor>) {
        direct = executor == HandlerExecutor(io);
      }
      if (direct) {
        Append(std::move(handler));
      } else {
        Append(Dispatched<Handler, HandlerExecutor>{
            std::move(handler), boost::asio::executor_work_guard<HandlerExecutor>(executor)});
      }
    }

    // Where a handler throws or stops the loop, the others are left.
    void Complete(boost::system::error_code error, const Loop* loop) {
      for (; !batches_.empty(); batches_.pop_front()) {
        batches_.front()->Complete(error, loop);
        if (batches_.front()->size() > 0) return;
      }
    }

    bool empty() const { return batches_.empty(); }
    size_t size() const {
      size_t sum = 0;
      for (const auto& batch : batches_) sum += batch->size();
      return sum;
    }

   private:
    template <class Handler>
    void Append(Handler handler) {
      if (batches_.empty() || batches_.back()->kind() != &BatchOf<Handler>::mark) {
        batches_.push_back(std::make_unique<BatchOf<Handler>>());
      }
      static_cast<BatchOf<Handler>&>(*batches_.back()).Add(std::move(handler));
    }

    std::deque<std::unique_ptr<Batch>> batches_;
  };

  // Those that wait for one stage.
  struct Waiting {
    Operations operations;
    std::optional<boost::asio::executor_work_guard<IoExecutor>> work;
    Subscription subscription;
    bool subscribed = false;
  };

  struct State : std::enable_shared_from_this<State> {
    State(IoExecutor io, Termination view)
        : executor(std::move(io)), termination(std::move(view)) {}

    // `state` by value: once the handler is added, another thread may complete it and free
    // whatever the caller's came from, a coroutine's frame for example.
    template <class Handler>
    static void Add(std::shared_ptr<State> state, Stage stage, Handler handler) {
      bool first = false;
      {
        std::lock_guard lock(state->mutex);
        Waiting& waiting = state->at(stage);
        waiting.operations.Add(std::move(handler), state->executor);
        if (!waiting.work) waiting.work.emplace(state->executor);
        first = !std::exchange(waiting.subscribed, true);
      }
      if (first) {
        state->Subscribe(stage);
      } else if (state->termination.Reached(stage)) {
        state->Post(stage);  // too late for the one message, or beside it
      }
    }

    void Subscribe(Stage stage) {
      // Under no lock: a late subscriber is told inside. Only the first operation comes here.
      // Posting is all there is to do, in whichever thread.
      const auto here = [](const Callback& post) { post(); };
      auto subscription =
          termination.OnReached(stage, here, [weak = this->weak_from_this(), stage] {
            if (const auto self = weak.lock()) self->Post(stage);
          });
      std::lock_guard lock(mutex);
      at(stage).subscription = std::move(subscription);
    }

    void Post(Stage stage) {
      boost::asio::post(executor, [self = this->shared_from_this(), stage] {
        CompleteAll(self->executor, self->Take(stage), {});
      });
    }

    // In the I/O executor. Where a handler throws or stops the loop, the others run when that goes
    // on.
    static void CompleteAll(const IoExecutor& executor, Operations operations,
                            boost::system::error_code error) {
      try {
        operations.Complete(error, LoopOf(executor));
      } catch (...) {
        PostAll(executor, std::move(operations), error);
        throw;
      }
      if (!operations.empty()) PostAll(executor, std::move(operations), error);
    }
    static void PostAll(const IoExecutor& executor, Operations operations,
                        boost::system::error_code error) {
      boost::asio::post(executor, [executor, operations = std::move(operations), error]() mutable {
        CompleteAll(executor, std::move(operations), error);
      });
    }

    Operations Take(Stage stage) {
      std::lock_guard lock(mutex);
      at(stage).work.reset();
      return std::exchange(at(stage).operations, {});
    }

    size_t Cancel() {
      const boost::asio::executor_work_guard work(executor);  // until they are posted
      size_t count = 0;
      for (const Stage stage : kStages) {
        Operations operations = Take(stage);
        const size_t size = operations.size();
        if (size == 0) continue;
        count += size;
        PostAll(executor, std::move(operations), boost::asio::error::operation_aborted);
      }
      return count;
    }

    // What waits may own the I/O object and thereby this state, which owns what waits: as with a
    // timer, it is the context that breaks the circle.
    void EndWithContext() {
      auto& context = static_cast<boost::asio::execution_context&>(
          boost::asio::query(executor, boost::asio::execution::context));
      context_end = boost::asio::use_service<AsioContextEnd>(context).notices.Subscribe(
          nullptr, [weak = this->weak_from_this()] {
            if (const auto self = weak.lock()) self->Drop();
          });
    }

    void Drop() {
      EndSubscriptions();  // from here on the host's thread posts nothing into the context
      for (const Stage stage : kStages) Take(stage);
    }

    void End() {
      EndSubscriptions();
      Cancel();
    }

    void EndSubscriptions() {
      std::array<Subscription, kStages.size()> subscriptions;  // end outside the lock
      std::lock_guard lock(mutex);
      for (size_t i = 0; i < kStages.size(); ++i) {
        subscriptions[i] = std::move(stages[i].subscription);
      }
    }

    Waiting& at(Stage stage) { return stages[static_cast<size_t>(stage)]; }

    const IoExecutor executor;
    const Termination termination;
    std::mutex mutex;
    std::array<Waiting, kStages.size()> stages;
    Subscription context_end;
  };

  std::shared_ptr<State> state_;
};

}  // namespace lastcall
