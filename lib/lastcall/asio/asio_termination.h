// AsioTermination: waiting for stages in Boost.Asio programs, by any completion token.
//
//   lastcall::AsioTermination termination(io.get_executor(), program.termination());
//   co_await termination.AsyncReached(lastcall::Stage::kGrace, boost::asio::use_awaitable);
//   termination.AsyncReached(lastcall::Stage::kCancel, [&](boost::system::error_code error) { … });
#pragma once

#include <algorithm>
#include <array>
#include <iterator>
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
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

#include <lastcall/lifecycle/termination.h>

namespace lastcall {

// An I/O object, as a timer is: operations wait, Cancel and destruction end them early. That is how
// Boost 1.74 cancels (cancellation slots came with 1.77).
//
// Threads: any, for AsyncReached and Cancel. Waiters: any number; those of one stage cost one
// message to the executor together, no descriptor and no thread. An operation that waits keeps its
// context's run() from returning. Handlers never run inside AsyncReached. What the host wrote
// before the stage is visible in them.
// Order: destroyed before the execution context, as every I/O object is.
template <class IoExecutor>
class AsioTermination {
 public:
  using executor_type = IoExecutor;

  AsioTermination(IoExecutor executor, Termination termination)
      : state_(std::make_shared<State>(std::move(executor), std::move(termination))) {}
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
  // An operation that waits, whatever its handler is.
  class Operation {
   public:
    virtual ~Operation() = default;
    // In the I/O executor: lets the handler run where it belongs.
    virtual void Complete(boost::system::error_code error) = 0;
  };
  using Operations = std::vector<std::unique_ptr<Operation>>;

  // Of a handler that runs in the I/O executor itself, as a coroutine in its loop does.
  template <class Handler>
  class DirectOperation final : public Operation {
   public:
    explicit DirectOperation(Handler handler) : handler_(std::move(handler)) {}
    void Complete(boost::system::error_code error) override {
      Handler handler(std::move(handler_));
      handler(error);
    }

   private:
    Handler handler_;
  };

  // Of a handler that has an executor of its own.
  template <class Handler, class HandlerExecutor>
  class DispatchedOperation final : public Operation {
   public:
    DispatchedOperation(Handler handler, const HandlerExecutor& executor)
        : handler_(std::move(handler)), work_(executor) {}
    void Complete(boost::system::error_code error) override {
      boost::asio::dispatch(work_.get_executor(),
                            [handler = std::move(handler_), error]() mutable { handler(error); });
    }

   private:
    Handler handler_;
    boost::asio::executor_work_guard<HandlerExecutor> work_;
  };

  template <class Handler>
  static std::unique_ptr<Operation> MakeOperation(Handler handler, const IoExecutor& io) {
    using HandlerExecutor = typename boost::asio::associated_executor<Handler, IoExecutor>::type;
    const HandlerExecutor executor = boost::asio::get_associated_executor(handler, io);
    bool direct = false;
    if constexpr (std::is_same_v<HandlerExecutor, IoExecutor>) {
      direct = executor == io;
    } else if constexpr (std::is_same_v<HandlerExecutor, boost::asio::any_io_executor>) {
      direct = executor == HandlerExecutor(io);
    }
    if (direct) return std::make_unique<DirectOperation<Handler>>(std::move(handler));
    return std::make_unique<DispatchedOperation<Handler, HandlerExecutor>>(std::move(handler),
                                                                           executor);
  }

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

    template <class Handler>
    static void Add(const std::shared_ptr<State>& state, Stage stage, Handler handler) {
      auto operation = MakeOperation(std::move(handler), state->executor);
      bool first = false;
      {
        std::lock_guard lock(state->mutex);
        Waiting& waiting = state->at(stage);
        waiting.operations.push_back(std::move(operation));
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
      auto subscription = termination.OnReached(stage, [weak = this->weak_from_this(), stage] {
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

    // In the I/O executor. Where a handler throws, the others run when the loop goes on.
    static void CompleteAll(const IoExecutor& executor, Operations operations,
                            boost::system::error_code error) {
      size_t next = 0;
      try {
        while (next < operations.size()) {
          // They were made long ago, each with its coroutine: not in the cache any more.
          if (next + 8 < operations.size()) __builtin_prefetch(operations[next + 8].get());
          operations[next++]->Complete(error);
        }
      } catch (...) {
        operations.erase(operations.begin(), operations.begin() + static_cast<ptrdiff_t>(next));
        PostAll(executor, std::move(operations), error);
        throw;
      }
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
      Operations all;
      for (const Stage stage : kStages) std::ranges::move(Take(stage), std::back_inserter(all));
      const size_t count = all.size();
      if (count > 0) PostAll(executor, std::move(all), boost::asio::error::operation_aborted);
      return count;
    }

    void End() {
      std::array<Subscription, kStages.size()> subscriptions;  // end outside the lock
      {
        std::lock_guard lock(mutex);
        for (size_t i = 0; i < kStages.size(); ++i) {
          subscriptions[i] = std::move(stages[i].subscription);
        }
      }
      Cancel();
    }

    Waiting& at(Stage stage) { return stages[static_cast<size_t>(stage)]; }

    const IoExecutor executor;
    const Termination termination;
    std::mutex mutex;
    std::array<Waiting, kStages.size()> stages;
  };

  std::shared_ptr<State> state_;
};

}  // namespace lastcall
