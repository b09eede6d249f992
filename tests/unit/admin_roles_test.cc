// Who may do what, by the kernel's word; and that a call is known by its connection.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <utility>
#include <vector>

#include <lastcall/base/unique_fd.h>
#include <lastcall/testing/fake_clock.h>
#include <lastcall/testing/recording_log.h>

#include "daemon/admin/callers.h"
#include "daemon/admin/roles.h"

namespace lastcall {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr uid_t kOwn = 500, kAlice = 4'000'000'000;  // who has no name anywhere

Roles SomeRoles() {
  return Roles({{"gone", std::nullopt}, {"admins", 10}}, {{"viewers", 20}}, kOwn);
}

TEST(RolesTest, AreDecidedByUserAndGroups) {
  struct Case {
    uid_t uid;
    std::vector<gid_t> groups;
    Role role;
    std::string by;
  };
  const Roles roles = SomeRoles();
  for (const Case& one :
       {Case{0, {0}, Role::kOperator, "root"},
        Case{kOwn, {99}, Role::kOperator, "the daemon's user"},
        Case{kAlice, {10}, Role::kOperator, "admins"},
        Case{kAlice, {1, 2, 10}, Role::kOperator, "admins"},
        Case{kAlice, {20, 10}, Role::kOperator, "admins"},
        Case{kAlice, {1, 20}, Role::kObserver, "viewers"}, Case{kAlice, {0}, Role::kStranger, ""},
        Case{kAlice, {}, Role::kStranger, ""}}) {
    const Standing standing = roles.Of({1, one.uid, one.groups});
    EXPECT_EQ(standing.role, one.role) << one.by;
    EXPECT_EQ(standing.by, one.by);
    EXPECT_EQ(standing.owner, one.uid == 0 || one.uid == kOwn);
  }
}

TEST(RolesTest, ADenialNamesWhatIsMissing) {
  const Roles roles = SomeRoles();
  EXPECT_EQ(
      roles.Denial(kAlice, "", Role::kStranger, "drain"),
      "permission denied: uid 4000000000 is in no group that may speak to lastcalld: looking "
      "needs the group viewers, changes need the group gone (not on this machine) or admins; "
      "use sudo, or start it with the group viewers: a user without an entry in passwd has the "
      "groups that it is started with (SupplementaryGroups= of its unit, --group-add of its "
      "container)");
  EXPECT_EQ(roles.Denial(kAlice, "", Role::kObserver, "drain"),
            "permission denied: uid 4000000000 may look, but not drain: changes need the group "
            "gone (not on this machine) or admins; use sudo, or start it with the group admins: a "
            "user without an entry in passwd has the groups that it is started with "
            "(SupplementaryGroups= of its unit, --group-add of its container)");
  EXPECT_EQ(
      Roles({}, {}, kOwn).Denial(kAlice, "", Role::kStranger, "drain"),
      "permission denied: uid 4000000000 is in no group that may speak to lastcalld: only root "
      "and the daemon's user may change anything; use sudo");
  EXPECT_THAT(
      Roles({{"gone", std::nullopt}}, {}, kOwn).Denial(kAlice, "", Role::kStranger, "drain"),
      HasSubstr("or start it with the group gone, once \"groupadd --system gone\" and a "
                "\"lastcallctl reload\" have made it known: a user without an entry"));
  // One that has a name is a matter of a command.
  EXPECT_THAT(roles.Denial(kAlice, "alice", Role::kStranger, "drain"),
              HasSubstr("or ask for \"usermod -aG viewers alice\" and log in again"));
}

// As another user, whom the kernel sees at the ends of sockets that are made meanwhile.
class As {
 public:
  explicit As(uid_t uid) : before_(geteuid()) { EXPECT_EQ(seteuid(uid), 0); }
  ~As() { EXPECT_EQ(seteuid(before_), 0); }

 private:
  const uid_t before_;
};

// The kernel says of a socket pair's ends that they are ours.
class AdminCallersTest : public testing::Test {
 protected:
  // Makes a connection, and shows one end.
  std::optional<AdminCallers::Admitted> Admit() {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    connections_.emplace_back(ends[0]);
    others_.emplace_back(ends[1]);
    return callers_.Admit(ends[0]);
  }
  // As if every user were somebody else to the daemon.
  static Roles Foreign(Role role) {
    const std::vector<Roles::Group> ours{{"ours", getgid()}};
    return Roles(role == Role::kOperator ? ours : std::vector<Roles::Group>(),
                 role == Role::kObserver ? ours : std::vector<Roles::Group>(), kOwn);
  }

  size_t Told() const {
    size_t count = 0;
    for (const auto& line : log_.lines()) {
      count +=
          line.text.find("to the admin socket, which is the most") != std::string::npos ? 1 : 0;
    }
    return count;
  }

  // Connects and closes, until that is refused: how often it was admitted.
  int Knock(uid_t uid) {
    const As user(uid);
    int admitted = 0;
    while (Admit()) {
      ++admitted;
      connections_.clear();
      others_.clear();
    }
    return admitted;
  }

  FakeClock clock_;
  RecordingLog log_;
  std::atomic<int> names_asked_{0};
  AdminCallers callers_{Foreign(Role::kStranger), clock_, log_.log(), [this](uid_t uid) {
                          ++names_asked_;
                          return UserName(uid);
                        }};
  std::vector<UniqueFd> connections_, others_;
};

TEST_F(AdminCallersTest, ACallIsKnownByTheNameOfItsConnection) {
  callers_.SetRoles(Foreign(Role::kObserver));
  const auto admitted = Admit();
  ASSERT_TRUE(admitted);
  const auto caller = callers_.Identify("unix:" + admitted->name);
  ASSERT_TRUE(caller);
  EXPECT_EQ(caller->pid, getpid());
  EXPECT_EQ(caller->uid, getuid());
  EXPECT_EQ(caller->role, admitted->role);
  EXPECT_EQ(caller->role, getuid() == 0 ? Role::kOperator : Role::kObserver);
  EXPECT_EQ(caller->by, getuid() == 0 ? "root" : "ours");
  EXPECT_LT(admitted->name.size(), 107u) << "a socket's name";
}

TEST_F(AdminCallersTest, NobodyElseIsBelieved) {
  const auto admitted = Admit();
  ASSERT_TRUE(admitted);
  const std::string name = admitted->name;
  const std::string rest = name.substr(name.find('/'));
  for (const std::string& peer :
       {std::string("unix:"), std::string(""), "unix:" + std::string(16, '0') + rest,
        "unix-abstract:" + name, "ipv4:" + name, "unix:" + name + "/more",
        "unix:" + name.substr(0, name.rfind('/')),
        "unix:" + name.substr(0, 16) + "/x/0/2/owner/"}) {
    EXPECT_FALSE(callers_.Identify(peer)) << peer;
  }
  AdminCallers another(Foreign(Role::kStranger), clock_, log_.log());
  EXPECT_FALSE(another.Identify("unix:" + name)) << "it belongs to one daemon alone";
}

TEST_F(AdminCallersTest, OneUserHasSoManyConnectionsAndNoMore) {
  const size_t most = getuid() == 0 ? AdminCallers::kOfOwner : AdminCallers::kOfStranger;
  for (size_t i = 0; i < most; ++i) ASSERT_TRUE(Admit()) << i;
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(Admit());
  EXPECT_EQ(Told(), 1u);
  clock_.Advance(std::chrono::minutes(2));
  EXPECT_FALSE(Admit());
  EXPECT_EQ(Told(), 2u) << "again, after a while";
  connections_.front().Reset();
  EXPECT_TRUE(Admit()) << "one has gone";
}

TEST_F(AdminCallersTest, WhoeverKnocksInALoopLeavesTheOthersTheirTurn) {
  if (getuid() != 0) GTEST_SKIP() << "only root can become another user";
  const int burst = static_cast<int>(AdminCallers::kPaceOfUser.burst);
  callers_.SetRoles(Foreign(Role::kObserver));
  EXPECT_EQ(Knock(kAlice), burst + 1) << "the one that made it known, and its measure";
  EXPECT_EQ(Knock(kAlice), 0);
  EXPECT_EQ(Told(), 1u);
  EXPECT_EQ(Knock(kOwn + 1), burst + 1);
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(Admit()) << "root has no measure";
    connections_.clear();
  }
  clock_.Advance(std::chrono::seconds(1));
  EXPECT_EQ(Knock(kAlice), burst);
}

TEST_F(AdminCallersTest, StrangersTogetherAreLetInSoOften) {
  if (getuid() != 0) GTEST_SKIP() << "only root can become another user";
  int admitted = 0;
  for (uid_t uid = 0; uid < 1000; ++uid) {
    const As user(kAlice + uid);
    admitted += Admit() ? 1 : 0;
    connections_.clear();
    others_.clear();
  }
  EXPECT_EQ(admitted, static_cast<int>(AdminCallers::kPaceOfStrangers.burst));
  EXPECT_EQ(Told(), 1u);
  EXPECT_TRUE(Admit());
}

// It may not answer for minutes, and all who connect wait for this.
TEST_F(AdminCallersTest, NoNameIsLookedUpForWhoeverConnects) {
  const int most = static_cast<int>(AdminCallers::kOfOwner);
  for (int i = 0; i < most + 10; ++i) Admit();
  if (getuid() == 0) Knock(kAlice);
  EXPECT_GE(Told(), 1u) << "not for the log either";
  EXPECT_EQ(names_asked_, 0);
  const Caller caller{.pid = getpid(), .uid = kAlice, .role = Role::kStranger};
  EXPECT_THAT(callers_.Denial(caller, "drain"), HasSubstr("uid 4000000000 is in no group"));
  EXPECT_EQ(names_asked_, 1) << "for the wording";
}

TEST(CallerTest, IsDescribedForTheLog) {
  const Caller caller{.pid = 999'999'999, .uid = kAlice, .role = Role::kOperator, .by = "admins"};
  EXPECT_EQ(Describe(caller, ""),
            "a process (pid 999999999, uid 4000000000, operator by the group admins)");
  EXPECT_THAT(
      Describe({.pid = getpid(), .uid = 0, .role = Role::kOperator, .owner = true, .by = "root"},
               "root"),
      AllOf(HasSubstr("root, uid 0, operator as root)"), Not(HasSubstr("a process"))));
  const Cause cause = CauseOf(caller, "why");
  EXPECT_EQ(cause.uid, kAlice);
  EXPECT_EQ(cause.reason, "why");
}

}  // namespace
}  // namespace lastcall
