#include "daemon/handover/resume_check.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
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
// Of those that are in the pipe when it has ended: all, or what one who never ends to speak
// deserves.
constexpr int kLastReads = 64;
constexpr size_t kNonce = 32;

// What leads nowhere: its other end is ours.
struct StandIn {
  UniqueFd theirs;
  UniqueFd ours;
};

Result<StandIn> MakeStandIn() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) {
    return FailErrno("cannot make a pair of sockets", errno);
  }
  return StandIn{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

struct Pipe {
  UniqueFd reading;
  UniqueFd writing;
};

Result<Pipe> MakePipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return FailErrno("cannot make a pipe", errno);
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

std::string MakeNonce() {
  std::string nonce(kNonce, '\0');
  static_cast<void>(getrandom(nonce.data(), nonce.size(), 0));
  return nonce;
}

}  // namespace

struct ResumeCheck::Run : std::enable_shared_from_this<Run> {
  Run(boost::asio::io_context& loop, const Self& self, Duration length, Done then)
      : program(self.program),
        limit(length),
        done(std::move(then)),
        words_end(loop),
        exited(loop),
        timer(loop) {}

  Result<> Begin(const Self& self, int binary, state::v1::State state,
                 const std::vector<int>& descriptors) {
    auto words_pipe = MakePipe(), proof_pipe = MakePipe();
    auto nowhere = MakeStandIn();
    if (!words_pipe) return tl::unexpected(words_pipe.error());
    if (!proof_pipe) return tl::unexpected(proof_pipe.error());
    if (!nowhere) return tl::unexpected(nowhere.error());
    const int word = proof_pipe->writing.get(), words_fd = words_pipe->writing.get();
    state.mutable_proof()->set_nonce(MakeNonce());
    state.mutable_proof()->set_fd(word);
    const auto packed = Pack(state);
    if (!packed) return tl::unexpected(packed.error());
    expected = ProofOf(packed->get());
    Command command{.program = "/proc/self/fd/" + std::to_string(binary),
                    .arguments = self.arguments,
                    .descriptors = {{words_fd, STDOUT_FILENO},
                                    {words_fd, STDERR_FILENO},
                                    {packed->get(), packed->get()},
                                    {word, word}},
                    .environment = {ResumeEntry(packed->get())}};
    command.arguments.push_back(kResumeCheck);
    for (const int fd : descriptors) command.descriptors.push_back({nowhere->theirs.get(), fd});
    auto child = Spawn(command);
    if (!child) return tl::unexpected(child.error());
    pid = child->pid;
    exited.assign(child->pidfd.Release());
    words_end.assign(words_pipe->reading.Release());
    proof = std::move(proof_pipe->reading);
    stand_in = std::move(nowhere->ours);
    return {};
  }

  // With all that it has started, but for those who left its group: they have nothing of ours.
  void Kill() const { kill(-pid, SIGKILL); }

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
      self->Kill();
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

  // What it said as its word; it does not wait for one.
  std::string Word() const {
    std::string said(expected.size() + 1, '\0');
    fcntl(proof.get(), F_SETFL, O_NONBLOCK);
    const ssize_t size = read(proof.get(), said.data(), said.size());
    said.resize(static_cast<size_t>(std::max<ssize_t>(size, 0)));
    return said;
  }

  void Exited() {
    Kill();  // whom it leaves behind; before its number is free for others
    const siginfo_t info = WaitForExit(pid);
    pid = 0;
    timer.cancel();
    // What is in the pipe still, as far as it is kept; a grandchild may hold it open and go on to
    // talk.
    words_end.non_blocking(true);
    error_code over;
    for (int left = kLastReads; left > 0; --left) {
      const size_t size = words_end.read_some(boost::asio::buffer(block), over);
      if (size == 0) break;
      Hear(size);
    }
    words_end.cancel();
    while (words.ends_with('\n')) words.pop_back();
    words = SafeLines(std::move(words));  // of whatever is in the place of lastcalld now
    const ExitStatus status{.code = info.si_code == CLD_EXITED ? info.si_status : 0,
                            .signal = info.si_code == CLD_EXITED ? 0 : info.si_status};
    if (auto tell = std::exchange(done, nullptr)) tell(Judge(status));
  }

  Result<> Judge(const ExitStatus& status) const {
    if (status.clean()) {
      if (!expected.empty() && Word() == expected) return {};
      return Fail(Code::kAborted,
                  program +
                      " is another build, which cannot take over: it did not say what a "
                      "lastcalld says that understands the state of this one (a link to "
                      "another program, a wrapper, or a much older build?); install a working "
                      "one there, or the old one, or restart the daemon");
    }
    if (status.signal == 0 && status.code == kExitBadConfiguration) {
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
  std::string expected;  // its word
  UniqueFd proof;        // where it says it
  UniqueFd stand_in;     // open as long as the child may write into its other end
  pid_t pid = 0;
  bool late = false;
};

ResumeCheck::ResumeCheck(boost::asio::io_context& loop, const Self& self, int binary,
                         state::v1::State state, const std::vector<int>& descriptors,
                         Duration limit, Done done)
    : run_(std::make_shared<Run>(loop, self, limit, std::move(done))) {
  if (const auto begun = run_->Begin(self, binary, std::move(state), descriptors); !begun) {
    const Error error{Code::kAborted, self.program + " is another build, which does not start: " +
                                          begun.error().message +
                                          "; put a working one there, or the old one back"};
    boost::asio::post(loop, [run = run_, error] {
      if (auto tell = std::exchange(run->done, nullptr)) tell(tl::unexpected(error));
    });
    return;
  }
  run_->Await();
}

// The child is killed with its group, and reaped by the wait that goes on.
ResumeCheck::~ResumeCheck() {
  run_->done = nullptr;
  if (run_->pid != 0) run_->Kill();
}

}  // namespace lastcall
