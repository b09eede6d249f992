#include "daemon/resume_check.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <utility>

#include <boost/asio/post.hpp>

#include <lastcall/base/clock.h>
#include <lastcall/base/safe_text.h>
#include <lastcall/supervisor/process.h>

namespace lastcall {
namespace {

using boost::asio::posix::stream_descriptor;
using boost::system::error_code;

// More of its words than these are not kept.
constexpr size_t kMostWords = 8 << 10;

}  // namespace

struct ResumeCheck::Run : std::enable_shared_from_this<Run> {
  Run(boost::asio::io_context& loop, const Self& self, Duration length, Done then)
      : program(self.program),
        limit(length),
        done(std::move(then)),
        words_end(loop),
        exited(loop),
        timer(loop) {}

  Result<> Begin(const Self& self, int binary, int state, const std::vector<int>& descriptors) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return FailErrno("cannot make a pipe", errno);
    words_end.assign(ends[0]);
    const UniqueFd theirs(ends[1]);
    Command command{.program = "/proc/self/fd/" + std::to_string(binary),
                    .arguments = self.arguments,
                    .descriptors = {{theirs.get(), STDOUT_FILENO}, {theirs.get(), STDERR_FILENO},
                                    {state, state}},
                    .environment = {ResumeEntry(state)}};
    command.arguments.push_back(kResumeCheck);
    for (const int fd : descriptors) command.descriptors.push_back({fd, fd});
    auto child = Spawn(command);
    if (!child) return tl::unexpected(child.error());
    pid = child->pid;
    exited.assign(child->pidfd.Release());
    return {};
  }

  void Await() {
    const auto self = shared_from_this();
    Listen();
    exited.async_wait(stream_descriptor::wait_read, [self](error_code error) {
      if (!error) self->Exited();
    });
    timer.expires_after(std::min<Duration>(limit, std::chrono::hours(24)));
    timer.async_wait([self](error_code error) {
      if (error || self->pid == 0) return;
      self->late = true;
      kill(self->pid, SIGKILL);
    });
  }

  void Listen() {
    words_end.async_read_some(boost::asio::buffer(block),
                              [self = shared_from_this()](error_code error, size_t size) {
                                if (error) return;
                                self->Hear(size);
                                self->Listen();
                              });
  }

  void Hear(size_t size) {
    words.append(block.data(), std::min(size, kMostWords - std::min(words.size(), kMostWords)));
  }

  void Exited() {
    siginfo_t info{};
    waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED);
    pid = 0;
    timer.cancel();
    // What is in the pipe still; a grandchild may hold it open.
    words_end.non_blocking(true);
    error_code over;
    while (const size_t size = words_end.read_some(boost::asio::buffer(block), over)) Hear(size);
    words_end.cancel();
    while (words.ends_with('\n')) words.pop_back();
    words = SafeLines(std::move(words));  // of whatever is in the place of lastcalld now
    const ExitStatus status{.code = info.si_code == CLD_EXITED ? info.si_status : 0,
                            .signal = info.si_code == CLD_EXITED ? 0 : info.si_status};
    if (auto tell = std::exchange(done, nullptr)) tell(Judge(status));
  }

  Result<> Judge(const ExitStatus& status) const {
    if (status.clean()) return {};
    if (status.signal == 0 && status.code == kBadConfiguration) {
      return Fail(Code::kInvalidArgument, words);
    }
    return Fail(Code::kAborted,
                program + " is another build, which cannot take over: " +
                    (late ? "it took longer than " + FormatDuration(limit) : Describe(status)) +
                    (words.empty() ? "" : ": " + words) +
                    "; put a working one there, or the old one back");
  }

  const std::string program;
  const Duration limit;
  Done done;
  stream_descriptor words_end;
  stream_descriptor exited;
  boost::asio::steady_timer timer;
  std::array<char, 1024> block;
  std::string words;
  pid_t pid = 0;
  bool late = false;
};

ResumeCheck::ResumeCheck(boost::asio::io_context& loop, const Self& self, int binary, int state,
                         const std::vector<int>& descriptors, Duration limit, Done done)
    : run_(std::make_shared<Run>(loop, self, limit, std::move(done))) {
  if (const auto begun = run_->Begin(self, binary, state, descriptors); !begun) {
    const Error error{Code::kAborted,
                      self.program + " is another build, which does not start: " +
                          begun.error().message + "; put a working one there, or the old one back"};
    boost::asio::post(loop, [run = run_, error] {
      if (auto tell = std::exchange(run->done, nullptr)) tell(tl::unexpected(error));
    });
    return;
  }
  run_->Await();
}

// The child is killed, and reaped by the wait that goes on.
ResumeCheck::~ResumeCheck() {
  run_->done = nullptr;
  if (run_->pid != 0) kill(run_->pid, SIGKILL);
}

}  // namespace lastcall
