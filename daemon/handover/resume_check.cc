#include "daemon/handover/resume_check.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <boost/asio/post.hpp>

#include <lastcall/base/exit_code.h>

namespace lastcall {
namespace {

constexpr size_t kMostOutput = 8 << 10;  // of what it writes, to be quoted
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

ResumeCheck::ResumeCheck(boost::asio::io_context& loop, const ProgramImage& image, Duration limit)
    : loop_(loop), image_(image), limit_(limit), timer_(loop) {}

ResumeCheck::~ResumeCheck() {
  if (child_) child_->Kill();
}

void ResumeCheck::Begin(int binary, state::v1::State state, const std::vector<int>& descriptors,
                        Done done) {
  done_ = std::make_shared<const Done>(std::move(done));
  auto child = Start(binary, std::move(state), descriptors);
  if (!child) {
    const Error error{Code::kAborted, image_.program + " is another build, which does not start: " +
                                          child.error().message +
                                          "; install a working binary, or the old one"};
    return boost::asio::post(loop_, [wanted = std::weak_ptr(done_), error] {
      if (const auto tell = wanted.lock()) (*tell)(tl::unexpected(error));
    });
  }
  child_.emplace(loop_, std::move(*child));
  child_->Begin([this](const ChildEnd& end) {
    const auto tell = std::exchange(done_, nullptr);
    (*tell)(Judge(end));
  });
  BeginTimer();
}

Result<ChildProcess> ResumeCheck::Start(int binary, state::v1::State state,
                                        const std::vector<int>& descriptors) {
  auto proof = MakePipe();
  auto nowhere = MakeStandIn();
  if (!proof) return tl::unexpected(proof.error());
  if (!nowhere) return tl::unexpected(nowhere.error());
  const int word = proof->writing.get();
  state.mutable_proof()->set_nonce(MakeNonce());
  state.mutable_proof()->set_fd(word);
  const auto packed = Pack(state);
  if (!packed) return tl::unexpected(packed.error());
  expected_ = ProofOf(packed->get());
  proof_ = std::move(proof->reading);
  stand_in_ = std::move(nowhere->ours);
  Command command{.program = "/proc/self/fd/" + std::to_string(binary),
                  .arguments = image_.arguments,
                  .descriptors = {{packed->get(), packed->get()}, {word, word}},
                  .environment = {ResumeEntry(packed->get())}};
  command.arguments.push_back(kResumeCheck);
  for (const int fd : descriptors) command.descriptors.push_back({nowhere->theirs.get(), fd});
  return ChildProcess::Start(std::move(command), {.keep_output = kMostOutput});
}

void ResumeCheck::BeginTimer() {
  timer_.expires_after(std::min<Duration>(limit_, std::chrono::hours(24)));
  timer_.async_wait([this, wanted = std::weak_ptr(done_)](const boost::system::error_code& error) {
    if (error || wanted.expired()) return;
    late_ = true;
    child_->Kill();
  });
}

// What it said as its word; it does not wait for one.
std::string ResumeCheck::Word() const {
  std::string said(expected_.size() + 1, '\0');
  fcntl(proof_.get(), F_SETFL, O_NONBLOCK);
  const ssize_t size = read(proof_.get(), said.data(), said.size());
  said.resize(static_cast<size_t>(std::max<ssize_t>(size, 0)));
  return said;
}

Result<> ResumeCheck::Judge(const ChildEnd& end) const {
  const std::string words = end.output.Lines();  // of whatever is in the place of lastcalld now
  if (end.status.clean()) {
    if (!expected_.empty() && Word() == expected_) return {};
    return Fail(Code::kAborted,
                image_.program +
                    " is another build, which cannot take over: it did not prove "
                    "that it is a lastcalld that understands the state of this one (a link to "
                    "another program, a wrapper, or a much older build?); install a working "
                    "binary, or the old one, or restart the daemon");
  }
  if (end.status.signal == 0 && end.status.code == kExitBadConfiguration) {
    return Fail(Code::kInvalidArgument, words);
  }
  return Fail(Code::kAborted,
              image_.program + " is another build, which cannot take over: " +
                  (late_ ? "it took longer than " + FormatDuration(limit_) : Describe(end.status)) +
                  (words.empty() ? "" : ": " + words) +
                  "; install a working binary, or the old one");
}

}  // namespace lastcall
