// One change after another: which is next, and who is answered with what.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include <lastcall/supervisor/change_queue.h>

namespace lastcall {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class ChangeQueueTest : public testing::Test {
 protected:
  // What comes of the list is in answers_: "list: process 2, process failure".
  void Add(
      const std::string& list, std::initializer_list<std::string> processes,
      std::function<void()> then = [] {}) {
    std::vector<ChangeQueue::Change> changes;
    for (const std::string& name : processes) {
      changes.push_back({ChangeQueue::Change::Kind::kReplace, {.name = name}});
    }
    queue_.Add(std::move(changes), {.kind = Cause::Kind::kAdmin, .who = list},
               [this, list, then = std::move(then)](const auto& outcomes) {
                 std::string answer = list + ":";
                 for (const ChangeQueue::Outcome& one : outcomes) {
                   answer += " " + one.process + " " +
                             (one.failure.empty() ? std::to_string(one.incarnation) : one.failure);
                 }
                 answers_.push_back(answer);
                 then();
               });
  }
  void Done(const std::string& process) { queue_.OnOver({process, "", 2}); }
  void Fails(const std::string& process) { queue_.OnOver({process, "failed", 1}); }

  std::vector<std::string> begun_;  // "process by list"
  std::vector<std::string> answers_;
  bool immediately_ = false;  // a change is over before its beginning returns
  ChangeQueue queue_{[this](const ChangeQueue::Change& change, const Cause& by) {
    begun_.push_back(change.spec.name + " by " + by.who);
    if (immediately_) Done(change.spec.name);
  }};
};

TEST_F(ChangeQueueTest, ChangesBeginOneAfterAnother) {
  Add("x", {"a", "b"});
  EXPECT_THAT(begun_, ElementsAre("a by x"));
  Done("a");
  EXPECT_THAT(begun_, ElementsAre("a by x", "b by x"));
  EXPECT_THAT(answers_, IsEmpty());
  Done("b");
  EXPECT_THAT(answers_, ElementsAre("x: a 2 b 2"));
  EXPECT_TRUE(queue_.empty());
}

TEST_F(ChangeQueueTest, AFailureEndsItsListAndWhatWaitsBehindGoesOn) {
  Add("x", {"a", "b"});
  Add("y", {"c"});
  Fails("a");
  EXPECT_THAT(begun_, ElementsAre("a by x", "c by y")) << "b is not begun";
  EXPECT_THAT(answers_, ElementsAre("x: a failed"));
  Done("c");
  EXPECT_THAT(answers_, ElementsAre("x: a failed", "y: c 2"));
}

TEST_F(ChangeQueueTest, AnEmptyListIsOverWhenItsTurnComes) {
  Add("x", {"a"});
  Add("y", {});
  EXPECT_THAT(answers_, IsEmpty());
  Done("a");
  EXPECT_THAT(answers_, ElementsAre("x: a 2", "y:"));
  Add("z", {});
  EXPECT_EQ(answers_.back(), "z:");
  EXPECT_TRUE(queue_.empty());
}

TEST_F(ChangeQueueTest, AChangeMayBeOverBeforeItsBeginningReturns) {
  immediately_ = true;
  Add("x", {"a", "b"});
  Add("y", {"c"});
  EXPECT_THAT(begun_, ElementsAre("a by x", "b by x", "c by y"));
  EXPECT_THAT(answers_, ElementsAre("x: a 2 b 2", "y: c 2"));
}

TEST_F(ChangeQueueTest, AbandonmentAnswersAll) {
  Add("x", {"a", "b", "c"});
  Add("y", {"d"});
  Add("z", {});
  Done("a");
  queue_.Abandon("stopped");
  EXPECT_THAT(answers_, ElementsAre("x: a 2 b stopped", "y: d stopped", "z:"));
  EXPECT_TRUE(queue_.empty());
  Done("b");
  EXPECT_EQ(answers_.size(), 3u) << "it was answered";
  EXPECT_THAT(begun_, ElementsAre("a by x", "b by x"));
}

TEST_F(ChangeQueueTest, WhoIsAnsweredMayAskForMore) {
  Add("x", {"a"}, [&] { Add("z", {"c"}); });
  Done("a");
  EXPECT_THAT(begun_, ElementsAre("a by x", "c by z")) << "once";
  Done("c");
  EXPECT_THAT(answers_, ElementsAre("x: a 2", "z: c 2"));

  Add("x", {"a"}, [&] { Add("z", {"c"}); });
  Add("y", {"b"});
  begun_.clear();
  Done("a");
  EXPECT_THAT(begun_, ElementsAre("b by y")) << "behind those who wait";
  Done("b");
  EXPECT_THAT(begun_, ElementsAre("b by y", "c by z"));
}

TEST_F(ChangeQueueTest, WhoIsAnsweredMayAbandonAll) {
  Add("x", {"a"}, [&] { queue_.Abandon("stopped"); });
  Add("y", {"b"});
  Done("a");
  EXPECT_THAT(begun_, ElementsAre("a by x"));
  EXPECT_THAT(answers_, ElementsAre("x: a 2", "y: b stopped"));
}

}  // namespace
}  // namespace lastcall
