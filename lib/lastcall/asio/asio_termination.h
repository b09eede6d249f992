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
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

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
  // An operation that waits, whatever its handler is. Most handlers fit into it: ten thousand
  // coroutines that are resumed one after another meet their operations side by side in memory.
  class Operation {
   public:
    template <class Handler>
    Operation(Handler handler, const IoExecutor& io) {
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
        Keep<Direct<Handler>>(std::move(handler));
      } else {
        Keep<Dispatched<Handler, HandlerExecutor>>(std::move(handler), executor);
      }
    }
    Operation(const Operation&) = delete;
    ~Operation() {
      if (end_ != nullptr) end_(*this, nullptr);
    }

    // In the I/O executor: lets the handler run where it belongs. Once.
    void Complete(boost::system::error_code error) {
      std::exchange(end_, nullptr)(*this, &error);
    }

   private:
    static constexpr size_t kRoom = 3 * sizeof(void*);

    template <class Handler>
    struct Direct {
      Handler handler;
      explicit Direct(Handler one) : handler(std::move(one)) {}
      void operator()(boost::system::error_code error) { handler(error); }
    };
    // It has an executor of its own.
    template <class Handler, class HandlerExecutor>
    struct Dispatched {
      Handler handler;
      boost::asio::executor_work_guard<HandlerExecutor> work;
      Dispatched(Handler one, const HandlerExecutor& executor)
          : handler(std::move(one)), work(executor) {}
      void operator()(boost::system::error_code error) {
        boost::asio::dispatch(work.get_executor(),
                              [one = std::move(handler), error]() mutable { one(error); });
      }
    };

    template <class Kept, class... Parts>
    void Keep(Parts&&... parts) {
      if constexpr (sizeof(Kept) <= kRoom && alignof(Kept) <= alignof(void*)) {
        new (room_) Kept(std::forward<Parts>(parts)...);
        end_ = [](Operation& self, const boost::system::error_code* error) {
          // The handler may do anything, so its place is free before it runs.
          Kept& there = *std::launder(reinterpret_cast<Kept*>(self.room_));
          Kept kept(std::move(there));
          there.~Kept();
          if (error != nullptr) kept(*error);
        };
      } else {
        Keep<Distant<Kept>>(std::make_unique<Kept>(std::forward<Parts>(parts)...));
      }
    }
    // One that does not fit.
    template <class Kept>
    struct Distant {
      std::unique_ptr<Kept> kept;
      explicit Distant(std::unique_ptr<Kept> one) : kept(std::move(one)) {}
      void operator()(boost::system::error_code error) { (*kept)(error); }
    };

    // Ends it; with an error code, after calling the handler.
    void (*end_)(Operation&, const boost::system::error_code*) = nullptr;
    alignas(void*) std::byte room_[kRoom];
  };
  using Operations = std::deque<Operation>;  // they stay where they are

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
      bool first = false;
      {
        std::lock_guard lock(state->mutex);
        Waiting& waiting = state->at(stage);
        waiting.operations.emplace_back(std::move(handler), state->executor);
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
      auto subscription = termination.OnReached(stage, here, [weak = this->weak_from_this(), stage] {
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
      size_t done = 0;
      try {
        for (Operation& operation : operations) {
          ++done;
          operation.Complete(error);
        }
      } catch (...) {
        for (; done > 0; --done) operations.pop_front();
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
      size_t count = 0;
      for (const Stage stage : kStages) {
        Operations operations = Take(stage);
        count += operations.size();
        if (operations.empty()) continue;
        PostAll(executor, std::move(operations), boost::asio::error::operation_aborted);
      }
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
