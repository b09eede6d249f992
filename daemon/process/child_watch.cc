#include "daemon/process/child_watch.h"

#include <boost/asio/posix/stream_descriptor.hpp>

#include <optional>
#include <utility>

namespace lastcall {

// Held by whatever waits, for a wait that is over may be in the loop's queue when this ends.
struct ChildWatch::Run : std::enable_shared_from_this<Run> {
  using Descriptor = boost::asio::posix::stream_descriptor;

  Run(boost::asio::io_context& loop, ChildProcess its)
      : child(std::move(its)), exited(loop), output(loop) {}
  ~Run() { End(); }

  void Begin() {
    exited.assign(child->exited_fd());
    if (child->output_fd() >= 0) output.assign(child->output_fd());
    AwaitExit();
    AwaitOutput();
  }

  void AwaitExit() {
    exited.async_wait(Descriptor::wait_read,
                      [run = shared_from_this()](const boost::system::error_code& error) {
                        if (!error && run->child) run->Exited();
                      });
  }

  void AwaitOutput() {
    if (child->output_fd() < 0) return;
    output.async_wait(Descriptor::wait_read,
                      [run = shared_from_this()](const boost::system::error_code& error) {
                        if (error || !run->child) return;
                        run->child->ReadOutput();
                        run->AwaitOutput();
                      });
  }

  void Exited() {
    ChildEnd end = child->Finish();
    const auto tell = std::move(ended);
    End();
    tell(std::move(end));
  }

  // The descriptors are the child's, and closed with it.
  void End() {
    if (exited.is_open()) exited.release();
    if (output.is_open()) output.release();
    child.reset();
  }

  std::optional<ChildProcess> child;  // empty: this is over
  std::function<void(ChildEnd)> ended;
  Descriptor exited;
  Descriptor output;
};

ChildWatch::ChildWatch(boost::asio::io_context& loop, ChildProcess child)
    : run_(std::make_shared<Run>(loop, std::move(child))) {}

ChildWatch::~ChildWatch() { run_->End(); }

void ChildWatch::Begin(std::function<void(ChildEnd)> ended) {
  run_->ended = std::move(ended);
  run_->Begin();
}

pid_t ChildWatch::pid() const { return run_->child ? run_->child->pid() : 0; }

int ChildWatch::exited_fd() const { return run_->child ? run_->child->exited_fd() : -1; }

void ChildWatch::Kill() {
  if (run_->child) run_->child->Kill();
}

}  // namespace lastcall
