#include "daemon/calls_query.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "daemon/process/call_source.h"

namespace lastcall {
namespace {

using std::chrono::steady_clock;

// How long after its last word a process is waited for, and all of them together.
constexpr auto kSilence = std::chrono::seconds(1);
constexpr auto kTogether = std::chrono::seconds(4);

// Kept by its timer's wait, which its end ends.
class CallsQuery : public std::enable_shared_from_this<CallsQuery> {
 public:
  CallsQuery(boost::asio::io_context& loop, std::function<void(CallsAnswers)> done)
      : loop_(loop), timer_(loop), by_(steady_clock::now() + kTogether), done_(std::move(done)) {}

  void Begin(const Supervisor& supervisor, const CallsQuestions& questions) {
    for (const Member& member : supervisor.members()) {
      ForEachIncarnation(member, [&](const Incarnation& incarnation) {
        const std::string& process = member.spec().name;
        auto question = questions(process, incarnation.number);
        if (incarnation.process == nullptr || !question) return;
        CallSource* const source = incarnation.process->calls();
        if (source == nullptr) return NotSeenInto(process);
        const auto asked = std::make_shared<Asked>(*this, process, incarnation.number);
        asked_.push_back(asked);
        ++open_;
        source->BeginAsk(std::move(*question), asked);
      });
    }
    if (open_ > 0) return Await();
    boost::asio::post(loop_, [self = shared_from_this()] { self->Finish(); });
  }

 private:
  // One that was asked.
  class Asked final : public CallsListener {
   public:
    Asked(CallsQuery& query, std::string process, uint32_t incarnation)
        : query_(query), answer_{std::move(process), incarnation, false, {}} {}

    void Heard(host::v1::CallsAnswer part) override {
      answer_.complete = part.complete();
      answer_.parts.push_back(std::move(part));
      answer_.complete ? query_.OneIsDone() : query_.Await();
    }
    void NoAnswer() override { query_.OneIsDone(); }
    CallsOfProcess& answer() { return answer_; }

   private:
    CallsQuery& query_;  // which has this
    CallsOfProcess answer_;
  };

  void NotSeenInto(const std::string& process) {
    auto& names = answers_.not_seen_into;
    if (std::find(names.begin(), names.end(), process) == names.end()) names.push_back(process);
  }

  void Await() {
    if (done_ == nullptr) return;
    timer_.expires_at(std::min(by_, steady_clock::now() + kSilence));
    timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
      if (!error) self->Finish();
    });
  }

  void OneIsDone() { --open_ == 0 ? Finish() : Await(); }

  // Later parts find nobody.

  void Finish() {
    if (done_ == nullptr) return;
    for (const auto& asked : asked_) answers_.processes.push_back(std::move(asked->answer()));
    std::exchange(done_, nullptr)(std::move(answers_));
    timer_.cancel();
  }

  boost::asio::io_context& loop_;
  boost::asio::steady_timer timer_;
  const steady_clock::time_point by_;
  std::function<void(CallsAnswers)> done_;  // null: it was told
  CallsAnswers answers_;
  std::vector<std::shared_ptr<Asked>> asked_;
  size_t open_ = 0;
};

}  // namespace

void BeginCallsQuery(boost::asio::io_context& loop, const Supervisor& supervisor,
                     const CallsQuestions& questions, std::function<void(CallsAnswers)> done) {
  std::make_shared<CallsQuery>(loop, std::move(done))->Begin(supervisor, questions);
}

}  // namespace lastcall
