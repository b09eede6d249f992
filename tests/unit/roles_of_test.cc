// The groups that a configuration names, and what is said of those that are none.
#include "daemon/admin/roles_of.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>

namespace lastcall {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

constexpr char kNoGroup[] = "no-such-group-0";

TEST(RolesOfTest, AGroupThatIsNoneIsNamedWithItsPlace) {
  Config config;
  config.operators = {"root", kNoGroup};
  config.observers = {kNoGroup};
  config.origins = {{"admin.operators", {"a.toml", 3}}, {"admin.observers", {"b.toml", 4}}};
  EXPECT_THAT(GroupWarnings(config),
              ElementsAre(AllOf(StartsWith("a.toml:3: admin.operators: there is no group "),
                                HasSubstr("\"groupadd --system no-such-group-0\"")),
                          StartsWith("b.toml:4: admin.observers: there is no group ")));
}

TEST(RolesOfTest, DefaultsThatAreNoGroupsAreNotNamed) {
  Config config;
  config.operators = config.observers = {kNoGroup};
  EXPECT_THAT(GroupWarnings(config), IsEmpty());
}

TEST(RolesOfTest, EachRoleHasItsGroupsWithNumbersWhereThereAreAny) {
  Config config;
  config.operators = {"root"};
  config.observers = {kNoGroup};
  const Roles roles = RolesOf(config);
  ASSERT_EQ(roles.operators().size(), 1u);
  EXPECT_EQ(roles.operators()[0].name, "root");
  EXPECT_EQ(roles.operators()[0].gid, 0u);
  ASSERT_EQ(roles.observers().size(), 1u);
  EXPECT_EQ(roles.observers()[0].name, kNoGroup);
  EXPECT_EQ(roles.observers()[0].gid, std::nullopt);
}

}  // namespace
}  // namespace lastcall
