// lastcallctl calls and call against a fake daemon: what they ask, what they print, how they end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "ctl_verbs_fixture.h"

namespace lastcall {
namespace {

using admin::v1::Call;
using admin::v1::ListCallsResponse;
using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

size_t Occurrences(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST_F(VerbsTest, CallsAsksForWhatTheOptionsSay) {
  FakeAdmin& daemon = StartDaemon();
  daemon.lists = {{SomeCalls()}};
  EXPECT_EQ(Run({"calls", "--server", "public", "--method", "/shop.*", "--peer", "127.*", "--older",
                 "1m30s", "--limit", "7"}),
            kExitDone);
  const admin::v1::ListCallsRequest request = daemon.list_request();
  EXPECT_EQ(request.filter().server(), "public");
  EXPECT_EQ(request.filter().method(), "/shop.*");
  EXPECT_EQ(request.filter().peer(), "127.*");
  EXPECT_EQ(request.filter().older_s(), 90);
  EXPECT_EQ(request.limit(), 7u);
  EXPECT_FALSE(request.recent());
}

TEST_F(VerbsTest, CallsAsksForAThousandAsTextAndForAllAsJson) {
  FakeAdmin& daemon = StartDaemon();
  daemon.lists = {{SomeCalls()}};
  EXPECT_EQ(Run({"calls"}), kExitDone);
  EXPECT_EQ(daemon.list_request().limit(), 1000u);
  EXPECT_EQ(Run({"calls", "--json"}), kExitDone);
  EXPECT_EQ(daemon.list_request().limit(), 0u);
  EXPECT_EQ(Run({"calls", "--json", "--limit", "2"}), kExitDone);
  EXPECT_EQ(daemon.list_request().limit(), 2u);
}

// Whatever part of the list it came with.
TEST_F(VerbsTest, CallsShowsThoseThatTheApplicationHoldsFirstAndThenTheOldest) {
  ListCallsResponse first = SomeCalls(), last;
  first.clear_complete();
  *last.add_calls() = HeldCall();
  last.mutable_calls(0)->set_id("main/3/4");
  last.mutable_calls(0)->set_age_s(7000);
  last.mutable_calls(0)->set_waits_for(Call::WAITS_APPLICATION);
  last.set_left_out(5);
  last.set_complete(true);
  StartDaemon().lists = {{first, last}};
  EXPECT_EQ(Run({"calls"}), kExitDone);
  const std::vector<std::string> ids{"main/3/4 ", "main/3/4711 ", "main/3/4800 ", "main/3/12 "};
  std::vector<size_t> places;
  for (const std::string& id : ids) places.push_back(out().find("\n" + id));
  EXPECT_THAT(places, Each(Not(std::string::npos)));
  EXPECT_TRUE(std::is_sorted(places.begin(), places.end())) << out();
  EXPECT_THAT(out(), HasSubstr("\n9 calls in flight, 5 of them left out (--limit)"));
}

TEST_F(VerbsTest, CallsSaysOfWhichProcessesItKnowsNothing) {
  StartDaemon().lists = {{SomeCalls()}};
  EXPECT_EQ(Run({"calls"}), kExitDone);
  EXPECT_THAT(
      out(),
      AllOf(HasSubstr("\nprocess old does not answer: its calls are not listed\n"),
            HasSubstr("\nprocess reports is not a lastcall-host: its calls cannot be seen\n")));
}

TEST_F(VerbsTest, CallsAsJsonIsOneObject) {
  StartDaemon().lists = {{SomeCalls()}};
  EXPECT_EQ(Run({"calls", "--json"}), kExitDone);
  EXPECT_THAT(out(), StartsWith(R"({"api_version":"lastcall/v1","kind":"Calls","calls":[{)"
                                R"("server":"public","method":"/shop.Prices/Watch",)"
                                R"("peer":"127.0.0.1:41022","age_s":182.5,"told":false,)"
                                R"("incarnation":3,"id":"main/3/4711","process":"main",)"
                                R"("kind":"bidi stream","identity":"till-7","received":12,)"
                                R"("sent":1204,"idle_s":178.2,"waits_for":"handler",)"
                                R"("thread":4242,"stalled":false,"cause":"","why":""},{)"));
  EXPECT_THAT(out(), EndsWith(R"(}],"left_out":0,"not_answering":["old"],)"
                              R"("not_seen_into":["reports"]})"
                              "\n"));
  EXPECT_EQ(Occurrences(out(), "\n"), 1u);
}

TEST_F(VerbsTest, NoCallsAreNoFailure) {
  ListCallsResponse none;
  none.set_complete(true);
  StartDaemon().lists = {{none}};
  EXPECT_EQ(Run({"calls"}), kExitDone);
  EXPECT_EQ(out(), "no calls in flight\n");
  EXPECT_EQ(Run({"calls", "--older", "1h"}), kExitDone);
  EXPECT_EQ(out(), "no such calls in flight\n");
  EXPECT_EQ(Run({"calls", "--recent"}), kExitDone);
  EXPECT_EQ(out(), "no calls have finished\n");
  EXPECT_EQ(Run({"calls", "--json"}), kExitDone);
  EXPECT_EQ(out(), R"({"api_version":"lastcall/v1","kind":"Calls","calls":[],"left_out":0,)"
                   R"("not_answering":[],"not_seen_into":[]})"
                   "\n");
}

TEST_F(VerbsTest, CallsOfAServerThatThereIsNot) {
  ListCallsResponse none;
  none.set_complete(true);
  StartDaemon().lists = {{none}};
  for (const char* form : {"--json", "--watch", "--recent"}) {
    EXPECT_EQ(Run({"calls", "--server", "pubilc", "--timeout", "5s", form}), kExitNoSuchName)
        << form;
    EXPECT_EQ(err(), "lastcallctl: there is no server \"pubilc\"; did you mean \"public\"?\n");
    EXPECT_THAT(out(), IsEmpty());
  }
  EXPECT_EQ(Run({"calls", "--server", "public"}), kExitDone);
}

TEST_F(VerbsTest, ListThatIsNotCompleteIsNotShown) {
  ListCallsResponse part = SomeCalls();
  part.clear_complete();
  StartDaemon().lists = {{part}};
  EXPECT_EQ(Run({"calls"}), kExitFailed);
  EXPECT_EQ(err(), "lastcallctl: lastcalld ended its list of calls too early\n");
  EXPECT_THAT(out(), IsEmpty());
}

TEST_F(VerbsTest, ManyCallsInManyPartsAreAllThere) {
  const ListCallsResponse all = ManyCalls(10'000);
  std::vector<ListCallsResponse> parts;
  for (int i = 0; i < all.calls_size(); ++i) {
    if (i % 250 == 0) parts.emplace_back();
    *parts.back().add_calls() = all.calls(i);
  }
  parts.back().set_complete(true);
  StartDaemon().lists = {parts};
  EXPECT_EQ(Run({"calls", "--json"}), kExitDone);
  EXPECT_EQ(Occurrences(out(), R"("id":"main/3/)"), 10'000u);
  EXPECT_EQ(Run({"calls", "--limit", "0"}), kExitDone);
  EXPECT_EQ(Occurrences(out(), "\nmain/3/"), 10'000u);
  EXPECT_THAT(out(), EndsWith("\n10,000 calls in flight; no room here for KIND\n"));
}

TEST_F(VerbsTest, RecentCallsByMethod) {
  FakeAdmin& daemon = StartDaemon();
  daemon.lists = {{SomeFinishedCalls()}};
  EXPECT_EQ(Run({"calls", "--recent", "--method", "/shop.*"}), kExitDone);
  EXPECT_TRUE(daemon.list_request().recent());
  EXPECT_EQ(daemon.list_request().filter().method(), "/shop.*");
  EXPECT_EQ(daemon.list_request().limit(), 0u);
  EXPECT_THAT(out(), StartsWith("/shop.Prices/Watch of public, incarnation 3: 1,204 failed\n"));
  EXPECT_EQ(Run({"calls", "--recent", "--json"}), kExitDone);
  EXPECT_THAT(out(), StartsWith(R"({"api_version":"lastcall/v1","kind":"FinishedCalls",)"
                                R"("finished":[{"server":"public","method":"/shop.Prices/Watch",)"
                                R"("incarnation":3,"failed":1204,"slowest":[{"id":"main/3/17",)"));
  EXPECT_THAT(out(), AllOf(HasSubstr(R"("status":"DEADLINE_EXCEEDED")"),
                           HasSubstr(R"("status":"CANCELLED")"), HasSubstr(R"("status":"OK")")));
  EXPECT_THAT(out(), EndsWith(R"(}],"not_answering":[],"not_seen_into":[]})"
                              "\n"));
}

TEST_F(VerbsTest, WatchedCallsAreShownOnceASecond) {
  ListCallsResponse later = ManyCalls(2);
  FakeAdmin& daemon = StartDaemon();
  daemon.lists = {{SomeCalls()}, {later}};
  EXPECT_EQ(Run({"calls", "--watch", "--timeout", "3s"}), kExitDone);
  EXPECT_EQ(pauses_, 3);
  EXPECT_THAT(daemon.asked(), ElementsAre("ListCalls", "ListCalls", "ListCalls"));
  const std::string at = FormatWallTime(clock_.Wall()) + "\n";
  EXPECT_THAT(out(), StartsWith(at + "ID "));
  EXPECT_EQ(Occurrences(out(), at), 3u);
  EXPECT_EQ(Occurrences(out(), "\n3 calls in flight"), 1u);
  EXPECT_EQ(Occurrences(out(), "\n2 calls in flight"), 2u);
  EXPECT_THAT(out(), Not(HasSubstr("\x1b")));
}

TEST_F(VerbsTest, WatchedCallsAsJsonAreALineEach) {
  StartDaemon().lists = {{SomeCalls()}};
  live_ = true;  // all the same
  EXPECT_EQ(Run({"calls", "--watch", "--json", "--timeout", "2s"}), kExitDone);
  EXPECT_THAT(out(), StartsWith(R"({"api_version":"lastcall/v1","kind":"Calls","at":")" +
                                FormatWallTime(clock_.Wall()) + R"(","calls":[{)"));
  EXPECT_EQ(Occurrences(out(), "\n"), 2u);
}

TEST_F(VerbsTest, WatchedCallsAreRedrawnAtTheSizeThatTheTerminalHas) {
  StartDaemon().lists = {{ManyCalls(40)}};
  live_ = true;
  look_ = {.width = 100, .height = 10};
  measure_ = [this] { return look_; };
  on_pause_ = [this](Duration) { look_.height = 5; };
  EXPECT_EQ(Run({"calls", "--watch", "--timeout", "2s"}), kExitDone);
  // A summary, titles, six calls, and how many more; then fewer calls in the place of all that.
  EXPECT_EQ(Occurrences(out(), "\x1b[9A\r"), 1u) << out();
  const size_t again = out().find("\x1b[9A\r");
  EXPECT_THAT(out().substr(0, again),
              AllOf(StartsWith("40 calls in flight"), HasSubstr("… and 34 more\x1b[K\n\x1b[J")));
  EXPECT_THAT(out().substr(again), HasSubstr("… and 39 more\x1b[K\n\x1b[J"));
}

// However often they do, for it may be watched for days.
TEST_F(VerbsTest, WatchedCallsOutliveDaemonsThatGiveWay) {
  StartDaemon().lists = {{SomeCalls()}};
  int times = 0;
  std::thread give_way;
  on_pause_ = [&](Duration length) {
    if (length < std::chrono::seconds(1) || ++times > 6) return;
    if (give_way.joinable()) give_way.join();
    daemon_.reset();
    give_way = std::thread([this, before = std::make_shared<SilentSocket>(socket_)] {
      const UniqueFd refused(::accept(before->fd(), nullptr, nullptr));
      unlink(socket_.c_str());
      StartDaemon().lists = {{SomeCalls()}};
    });
  };
  EXPECT_EQ(Run({"calls", "--watch", "--timeout", "10s"}), kExitDone) << err();
  give_way.join();
  EXPECT_EQ(Occurrences(out(), "3 calls in flight"), 10u);
}

TEST_F(VerbsTest, WatchedCallsEndWithTheDaemon) {
  StartDaemon().lists = {{SomeCalls()}};
  on_pause_ = [this](Duration) { daemon_.reset(); };
  EXPECT_EQ(Run({"calls", "--watch", "--timeout", "5s"}), kExitUnreachable);
  EXPECT_EQ(Occurrences(out(), "3 calls in flight"), 1u);
  EXPECT_THAT(err(), StartsWith("lastcallctl: cannot reach lastcalld at "));
}

TEST_F(VerbsTest, OneCallWithItsStack) {
  FakeAdmin& daemon = StartDaemon();
  *daemon.call.mutable_call() = HeldCall();
  daemon.call.add_stack("shop::Feed::Next()+0x81");
  EXPECT_EQ(Run({"call", "main/3/4711"}), kExitDone);
  EXPECT_EQ(daemon.call_request().id(), "main/3/4711");
  EXPECT_THAT(out(), AllOf(StartsWith("main/3/4711: /shop.Prices/Watch\n"),
                           EndsWith("\nstack\n  #0  shop::Feed::Next()+0x81\n")));
  EXPECT_EQ(Run({"call", "main/3/4711", "--json"}), kExitDone);
  EXPECT_THAT(out(), StartsWith(R"({"api_version":"lastcall/v1","kind":"Call","call":{)"));
  EXPECT_THAT(out(), EndsWith(R"(},"stack":["shop::Feed::Next()+0x81"],"no_stack":"","profile":[]})"
                              "\n"));
}

TEST_F(VerbsTest, CallThatIsNotInFlightAndIdThatIsNone) {
  FakeAdmin& daemon = StartDaemon();
  daemon.call_error = {Code::kNotFound, "no call \"main/3/1\" is in flight"};
  EXPECT_EQ(Run({"call", "main/3/1"}), kExitNoSuchName);
  EXPECT_EQ(err(), "lastcallctl: no call \"main/3/1\" is in flight\n");
  daemon.call_error = {Code::kInvalidArgument, "\"\\xff\" is not the id of a call"};
  EXPECT_EQ(Run({"call", "\xff"}), kExitUsage);
  EXPECT_EQ(daemon.call_request().id(), "\\xff") << "what is not UTF-8 would not be sent";
}

// The status is the one of a connection that broke.
TEST_F(VerbsTest, CallOfAProcessThatDoesNotAnswer) {
  FakeAdmin& daemon = StartDaemon();
  daemon.call_error = {Code::kUnavailable, "process main does not answer"};
  EXPECT_EQ(Run({"call", "main/3/1"}), kExitFailed);
  EXPECT_EQ(err(), "lastcallctl: process main does not answer\n");
  EXPECT_THAT(daemon.asked(), ElementsAre("GetCall")) << "the daemon is there";
}

}  // namespace
}  // namespace lastcall
