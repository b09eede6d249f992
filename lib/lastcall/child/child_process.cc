#include "lastcall/child/child_process.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <string_view>
#include <utility>

namespace lastcall {
namespace {

constexpr size_t kBlock = 4096;
constexpr int kBlocksAtATime = 16;  // a full pipe

}  // namespace

ChildProcess::ChildProcess(Child child, UniqueFd output, size_t keep_output)
    : pid_(child.pid),
      exited_(std::move(child.pidfd)),
      output_(std::move(output)),
      tail_(keep_output) {}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)),
      exited_(std::move(other.exited_)),
      output_(std::move(other.output_)),
      output_over_(other.output_over_),
      tail_(std::move(other.tail_)) {}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  ChildProcess moved(std::move(other));
  std::swap(pid_, moved.pid_);
  std::swap(exited_, moved.exited_);
  std::swap(output_, moved.output_);
  std::swap(output_over_, moved.output_over_);
  std::swap(tail_, moved.tail_);
  return *this;
}

ChildProcess::~ChildProcess() {
  if (pid_ != 0) Disown(pid_);
}

Result<ChildProcess> ChildProcess::Start(Command command, const ChildOptions& options) {
  UniqueFd ours, theirs;
  if (options.keep_output > 0) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return FailErrno("cannot make a pipe", errno);
    ours.Reset(ends[0]);
    theirs.Reset(ends[1]);
    fcntl(ours.get(), F_SETFL, O_NONBLOCK);
    // Before those of the command, one of which could take the number of the pipe.
    command.descriptors.insert(command.descriptors.begin(),
                               {{theirs.get(), STDOUT_FILENO}, {theirs.get(), STDERR_FILENO}});
  }
  auto child = Spawn(command);
  if (!child) return tl::unexpected(child.error());
  return ChildProcess(std::move(*child), std::move(ours), options.keep_output);
}

ChildProcess ChildProcess::Adopt(Child child) {
  lastcall::Adopt(child.pid);
  return ChildProcess(std::move(child), UniqueFd(), 0);
}

void ChildProcess::ReadOutput() {
  std::array<char, kBlock> block;
  for (int left = kBlocksAtATime; left > 0 && output_fd() >= 0; --left) {
    const ssize_t size = read(output_.get(), block.data(), block.size());
    if (size < 0 && errno == EAGAIN) return;
    output_over_ = size <= 0;
    if (size > 0) tail_.Add(std::string_view(block.data(), static_cast<size_t>(size)));
  }
}

void ChildProcess::Kill() {
  if (pid_ == 0) return;
  kill(-pid_, SIGKILL);
  kill(pid_, SIGKILL);  // one that has left its own group
}

ChildEnd ChildProcess::Finish() {
  Kill();  // before its number is free for others
  ExitStatus status = WaitForExit(pid_);
  pid_ = 0;
  ReadOutput();
  return {.status = std::move(status), .output = std::move(tail_)};
}

}  // namespace lastcall
