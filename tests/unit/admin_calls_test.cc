// What processes say of their calls, as the admin's callers hear it; and who is asked.
#include "daemon/admin/calls.h"

#include <gmock/gmock.h>

#include <boost/asio/io_context.hpp>

#include <memory>

#include "daemon/calls_query.h"
#include "daemon/process/call_source.h"

#include <lastcall/testing/fake_clock.h>
#include <lastcall/testing/fake_process.h>
#include <lastcall/testing/recording_log.h>
#include <lastcall/testing/recording_observer.h>

namespace lastcall {
namespace {

using namespace std::chrono_literals;

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

TEST(CallIdTest, IsReadAsItIsWritten) {
  for (const char* text :
       {"main/3/4711", "a/b/1/2", "with space/4294967295/18446744073709551615"}) {
    const auto id = CallId::Parse(text);
    ASSERT_TRUE(id) << text;
    EXPECT_EQ(id->text(), text);
  }
  EXPECT_EQ(CallId::Parse("a/b/1/2")->process, "a/b");
}

TEST(CallIdTest, AnythingElseIsRefusedWithARemedy) {
  for (const char* text :
       {"", "/", "//", "///", "4711", "main", "main/1", "main/1/", "main//1", "/1/1", "main/1/1 ",
        "main/1/-1", "main/4294967296/1", "main/1/0x1", "main/1/18446744073709551616"}) {
    const auto id = CallId::Parse(text);
    ASSERT_FALSE(id) << text;
    EXPECT_EQ(id.error().code, Code::kInvalidArgument);
    EXPECT_THAT(id.error().message, HasSubstr("main/3/4711"));
  }
  EXPECT_EQ(CallId::Parse("\xff\n").error().message.find('\n'), std::string::npos);
}

const Moment kNow{Instant(100s), WallTime(1000s)};

host::v1::CallReport Report(uint64_t number) {
  host::v1::CallReport call;
  call.set_number(number);
  call.set_server("public");
  call.set_method("/s/M");
  call.set_peer("10.0.0.1:7");
  call.set_identity("alice");
  call.set_began_ns(Duration(90s).count());
  call.set_progressed_ns(Duration(97s).count());
  call.set_deadline_ns(Duration(130s).count());
  call.set_kind(host::v1::CallReport::KIND_BIDI_STREAM);
  call.set_waits(host::v1::CallReport::WAITS_CLIENT);
  return call;
}

CallsAnswers AnswersOf(host::v1::CallsAnswer part, bool complete = true) {
  CallsAnswers answers;
  answers.processes.push_back({"main", 3, complete, {std::move(part)}});
  return answers;
}

TEST(ToListCallsTest, InstantsBecomeLengths) {
  host::v1::CallsAnswer part;
  *part.add_calls() = Report(17);
  const auto responses = ToListCalls(AnswersOf(part), kNow, true);
  ASSERT_THAT(responses, SizeIs(2));
  const admin::v1::Call& call = responses[0].calls(0);
  EXPECT_EQ(call.id(), "main/3/17");
  EXPECT_EQ(call.age_s(), 10);
  EXPECT_EQ(call.idle_s(), 3);
  EXPECT_EQ(call.deadline_in_s(), 30);
  EXPECT_EQ(call.kind(), admin::v1::Call::KIND_BIDI_STREAM);
  EXPECT_EQ(call.waits_for(), admin::v1::Call::WAITS_CLIENT);
  EXPECT_EQ(call.peer(), "10.0.0.1:7");
  EXPECT_TRUE(responses[1].complete());
}

TEST(ToListCallsTest, WhoseTheyAreIsNotForEverybody) {
  host::v1::CallsAnswer part;
  *part.add_calls() = Report(17);
  host::v1::FinishedReport& method = *part.add_finished();
  method.add_failures()->set_client("10.0.0.1:7 alice");
  method.mutable_failures(0)->set_message("no such account: alice");
  for (const auto& response : ToListCalls(AnswersOf(part), kNow, false)) {
    EXPECT_EQ(response.DebugString().find("alice"), std::string::npos);
    EXPECT_EQ(response.DebugString().find("10.0.0.1"), std::string::npos);
  }
}

// Hosts run what strangers have written.
TEST(ToListCallsTest, WhatAHostSaysIsMadeSafe) {
  host::v1::CallsAnswer part;
  host::v1::CallReport& call = *part.add_calls();
  for (auto* text : {call.mutable_server(), call.mutable_method(), call.mutable_peer(),
                     call.mutable_identity()}) {
    *text = "\xff\x1b[31m" + std::string(100'000, 'x');
  }
  call.set_kind(static_cast<host::v1::CallReport::Kind>(4711));
  call.set_waits(static_cast<host::v1::CallReport::Waits>(-1));
  call.set_began_ns(INT64_MIN);
  call.set_deadline_ns(INT64_MAX);
  host::v1::FinishedCallReport& finished = *part.add_finished()->add_slowest();
  finished.set_message("\xff");
  finished.set_ended_ns(INT64_MIN);
  const auto responses = ToListCalls(AnswersOf(part), kNow, true);
  EXPECT_LT(responses[0].ByteSizeLong(), 10'000u);
  EXPECT_TRUE(responses[0].SerializeAsString().find('\x1b') == std::string::npos);
  EXPECT_EQ(responses[0].calls(0).kind(), admin::v1::Call::KIND_UNSPECIFIED);
}

TEST(ToGetCallTest, OneThatIsNotThereIsToldFromOneThatNobodyKnowsOf) {
  const CallId id{"main", 3, 17};
  EXPECT_EQ(ToGetCall(id, {}, kNow).error().code, Code::kNotFound);
  EXPECT_EQ(ToGetCall(id, AnswersOf({}), kNow).error().code, Code::kNotFound);
  EXPECT_EQ(ToGetCall(id, AnswersOf({}, false), kNow).error().code, Code::kUnavailable);
  host::v1::CallsAnswer part;
  *part.add_calls() = Report(17);
  part.add_stack("Prices::Watch");
  const auto found = ToGetCall(id, AnswersOf(part), kNow);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->call().id(), "main/3/17");
  EXPECT_THAT(found->stack(), ElementsAre("Prices::Watch"));
}

TEST(ToCancelCallsTest, WhatIsNotInFlightIsNamed) {
  const std::vector<CallId> asked{{"main", 3, 17}, {"main", 3, 18}, {"main", 2, 1}};
  host::v1::CallsAnswer part;
  part.set_cancelled(1);
  part.add_not_in_flight(18);
  const auto done = ToCancelCalls(asked, AnswersOf(part));
  ASSERT_TRUE(done);
  EXPECT_EQ(done->cancelled(), 1u);
  EXPECT_THAT(done->not_in_flight(), ElementsAre("main/2/1", "main/3/18"));
}

TEST(ToCancelCallsTest, WhereNoneIsThatIsAnError) {
  host::v1::CallsAnswer part;
  part.add_not_in_flight(17);
  EXPECT_EQ(ToCancelCalls({{"main", 3, 17}}, AnswersOf(part)).error().message,
            "no call main/3/17 is in flight");
  EXPECT_EQ(ToCancelCalls({{"none", 1, 1}, {"none", 1, 2}}, {}).error().code, Code::kNotFound);
  EXPECT_TRUE(ToCancelCalls({}, {})) << "but not where they were not named";
}

TEST(ToCancelCallsTest, OfAProcessThatDoesNotAnswerNobodyKnows) {
  const auto done = ToCancelCalls({{"main", 3, 17}}, AnswersOf({}, false));
  ASSERT_TRUE(done);
  EXPECT_EQ(done->cancelled(), 0u);
  EXPECT_THAT(done->not_in_flight(), IsEmpty());
  EXPECT_THAT(done->not_answering(), ElementsAre("main"));
}

// Keeps what it is asked, and answers when the test says so.
class FakeSource final : public CallSource {
 public:
  void BeginAsk(host::v1::CallsQuestion question, std::weak_ptr<CallsListener> listener) override {
    asked.push_back({std::move(question), std::move(listener)});
  }
  void Tell(uint64_t left_out, bool complete) {
    host::v1::CallsAnswer part;
    part.set_left_out(left_out);
    part.set_complete(complete);
    if (const auto listener = asked.back().second.lock()) listener->Heard(std::move(part));
  }

  std::vector<std::pair<host::v1::CallsQuestion, std::weak_ptr<CallsListener>>> asked;
};

class CallsQueryTest : public testing::Test {
 protected:
  // A process for each; null: one that nobody sees into.
  void Start(const std::vector<CallSource*>& sources) {
    std::vector<ProcessSpec> specs;
    for (CallSource* source : sources) {
      FakeProcess& process = *processes_.emplace_back(std::make_unique<FakeProcess>());
      process.source = source;
      specs.push_back({"p" + std::to_string(specs.size()),
                       RestartPolicy::kAlways,
                       {},
                       [&process](uint32_t number) { return process.Make(number); }});
    }
    supervisor_ = std::make_unique<Supervisor>(Supervisor::Options{}, std::move(specs), clock_,
                                               observer_, log_.log());
    supervisor_->Start();
  }
  void Ask() {
    BeginCallsQuery(
        loop_, *supervisor_,
        [this](const std::string& process, uint32_t) -> std::optional<host::v1::CallsQuestion> {
          if (process == not_asked_) return std::nullopt;
          return host::v1::CallsQuestion();
        },
        [this](CallsAnswers answers) {
          ++answers_;
          last_ = std::move(answers);
        });
  }

  boost::asio::io_context loop_{1};
  FakeClock clock_;
  RecordingLog log_;
  RecordingObserver observer_;
  std::vector<std::unique_ptr<FakeProcess>> processes_;
  std::unique_ptr<Supervisor> supervisor_;
  std::string not_asked_;
  int answers_ = 0;
  CallsAnswers last_;
};

TEST_F(CallsQueryTest, IsAnsweredWithTheLastPartOfTheLastAnswer) {
  FakeSource one, other;
  Start({&one, &other});
  Ask();
  one.Tell(1, false);
  other.Tell(7, true);
  EXPECT_EQ(answers_, 0);
  one.Tell(2, true);
  EXPECT_EQ(answers_, 1);
  ASSERT_THAT(last_.processes, SizeIs(2));
  EXPECT_THAT(last_.processes[0].parts, SizeIs(2));
  EXPECT_TRUE(last_.processes[0].complete);
  loop_.run();
  EXPECT_EQ(answers_, 1) << "and not again when the time is over";
}

TEST_F(CallsQueryTest, OneThatNobodySeesIntoIsNamed) {
  FakeSource one;
  Start({&one, nullptr});
  Ask();
  one.Tell(0, true);
  EXPECT_THAT(last_.not_seen_into, ElementsAre("p1"));
}

TEST_F(CallsQueryTest, IsAnsweredLaterWhereNobodyIsAsked) {
  FakeSource one;
  Start({&one});
  not_asked_ = "p0";
  Ask();
  EXPECT_EQ(answers_, 0);
  loop_.poll();
  EXPECT_EQ(answers_, 1);
  EXPECT_THAT(one.asked, IsEmpty());
}

TEST_F(CallsQueryTest, WaitsForNobodyForEverAndSaysWhoDidNotAnswer) {
  FakeSource one, other;
  Start({&one, &other});
  Ask();
  one.Tell(1, true);
  other.Tell(1, false);
  loop_.run();
  EXPECT_EQ(answers_, 1);
  EXPECT_TRUE(last_.processes[0].complete);
  EXPECT_FALSE(last_.processes[1].complete);
  EXPECT_THAT(last_.processes[1].parts, SizeIs(1));
  other.Tell(1, true);
  EXPECT_EQ(answers_, 1) << "it comes too late";
}

TEST_F(CallsQueryTest, OneThatIsGoneIsNotWaitedFor) {
  FakeSource one;
  Start({&one});
  Ask();
  one.asked.back().second.lock()->NoAnswer();
  EXPECT_EQ(answers_, 1);
  EXPECT_FALSE(last_.processes[0].complete);
}

}  // namespace
}  // namespace lastcall
