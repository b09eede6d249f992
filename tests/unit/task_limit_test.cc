// The limit of tasks: where it is found, and what it is held against.
#include "daemon/task_limit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "temp_folder.h"

namespace lastcall {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(TaskLimitTest, TheLowestOfTheGroupsCounts) {
  const TempFolder machine;
  const auto find = [&] { return FindGroupLimit(machine / "proc", machine / "cgroup"); };
  EXPECT_FALSE(find());
  machine.Write("proc/self/cgroup", "9:memory:/elsewhere\n8:pids:/shop/prices\n0::/\n");
  machine.Write("cgroup/pids/shop/prices/pids.max", "max\n");
  EXPECT_FALSE(find());
  machine.Write("cgroup/pids/shop/pids.max", "400\n");
  machine.Write("cgroup/pids/pids.max", "5000\n");
  machine.Write("cgroup/elsewhere/pids.max", "3\n");
  ASSERT_TRUE(find());
  EXPECT_EQ(find()->tasks, 400u);
  EXPECT_THAT(find()->of, AllOf(HasSubstr("pids.max of "), HasSubstr("/cgroup/pids/shop")));
  machine.Write("proc/self/cgroup", "0::/system.slice/lastcalld.service\n");
  machine.Write("cgroup/system.slice/lastcalld.service/pids.max", "200\n");
  EXPECT_EQ(find()->tasks, 200u);
}

TEST(TaskWarningTest, NamesWhatIsNeededAndWhatThereIs) {
  Config config;
  config.keep = 3;
  config.processes.resize(2);
  config.servers.resize(2);
  config.servers[0].limits.threads = 1000;
  config.servers[1].limits.threads = 490;
  config.servers[1].plugins.resize(1);
  config.servers[1].plugins[0].offload.threads = 9;
  EXPECT_EQ(TaskWarning(config, std::nullopt), "");
  EXPECT_EQ(TaskWarning(config, TaskLimit{50'000, "x"}), "");
  // 50 + 5 x (2 x 30 + 2 x 10 + 1490 + 9 + 1)
  EXPECT_EQ(TaskWarning(config, TaskLimit{7950, "x"}), "");
  EXPECT_THAT(TaskWarning(config, TaskLimit{7949, "pids.max of /x"}),
              AllOf(HasSubstr("up to 7950 tasks"), HasSubstr("2 processes"), HasSubstr("keep = 3"),
                    HasSubstr("only 7949 may exist (pids.max of /x)")));
}

}  // namespace
}  // namespace lastcall
