// Addresses: what is understood, what is refused and how, and which two exclude each other.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <lastcall/net/address.h>

namespace lastcall {
namespace {

struct Good {
  std::string text;
  std::string host;
  uint16_t port;
  std::string canonical;
};

class GoodAddressTest : public testing::TestWithParam<Good> {};

TEST_P(GoodAddressTest, IsUnderstood) {
  const auto address = Address::Parse(GetParam().text);
  ASSERT_TRUE(address) << address.error().message;
  EXPECT_EQ(address->kind, Address::Kind::kTcp);
  EXPECT_EQ(address->host, GetParam().host);
  EXPECT_EQ(address->port, GetParam().port);
  EXPECT_EQ(address->text, GetParam().text);
  EXPECT_EQ(address->Canonical(), GetParam().canonical);
}

const Good kGood[] = {
    {"127.0.0.1:50051", "127.0.0.1", 50051, "127.0.0.1:50051"},
    {"0.0.0.0:0", "0.0.0.0", 0, "0.0.0.0:0"},
    {"*:65535", "*", 65535, "*:65535"},
    {"localhost:80", "localhost", 80, "localhost:80"},
    {"my-host_1.example.org:080", "my-host_1.example.org", 80, "my-host_1.example.org:80"},
    {"[::1]:50051", "::1", 50051, "[::1]:50051"},
    {"[::]:1", "::", 1, "[::]:1"},
    {"[fe80::1%eth0]:1", "fe80::1%eth0", 1, "[fe80::1%eth0]:1"},
    {"[::ffff:1.2.3.4]:1", "::ffff:1.2.3.4", 1, "[::ffff:1.2.3.4]:1"},
};
INSTANTIATE_TEST_SUITE_P(All, GoodAddressTest, testing::ValuesIn(kGood));

struct Bad {
  std::string text;
  std::string message;
};

class BadAddressTest : public testing::TestWithParam<Bad> {};

TEST_P(BadAddressTest, IsRefusedWithARemedy) {
  const auto address = Address::Parse(GetParam().text);
  ASSERT_FALSE(address);
  EXPECT_EQ(address.error().code, Code::kInvalidArgument);
  EXPECT_EQ(address.error().message, GetParam().message);
}

const Bad kBadTcp[] = {
    {"",
     "an address must not be empty; write for example \"127.0.0.1:50051\" or "
     "\"unix:/run/shop.sock\""},
    {"localhost", "\"localhost\" has no port; write for example \"localhost:50051\""},
    {"localhost:", "\"localhost\" has no port; write for example \"localhost:50051\""},
    {"50051",
     "\"50051\" has no host; write \"127.0.0.1:50051\", or \"*:50051\" for all addresses of this "
     "machine"},
    {":50051", "\":50051\" has no host; write \"*:50051\" for all addresses of this machine"},
    {"a:b", "\"a:b\": \"b\" is not a port; write a number from 0 to 65535"},
    {"a:65536", "\"a:65536\": \"65536\" is not a port; write a number from 0 to 65535"},
    {"a:-1", "\"a:-1\": \"-1\" is not a port; write a number from 0 to 65535"},
    {"a:1x", "\"a:1x\": \"1x\" is not a port; write a number from 0 to 65535"},
    {"300.1.1.1:1",
     "\"300.1.1.1:1\": \"300.1.1.1\" is not an IPv4 address; write for example "
     "\"127.0.0.1:50051\""},
    {"127.1:1",
     "\"127.1:1\": \"127.1\" is not an IPv4 address; write for example \"127.0.0.1:50051\""},
    {"my host:1",
     "\"my host:1\": \"my host\" is not a host name; write for example \"localhost:50051\""},
    {"a/b:1", "\"a/b:1\": \"a/b\" is not a host name; write for example \"localhost:50051\""},
    {"::1:50051",
     "\"::1:50051\" has more than one colon; an IPv6 address needs brackets, write for example "
     "\"[::1]:50051\""},
    {"::1",
     "\"::1\" has more than one colon; an IPv6 address needs brackets, write for example "
     "\"[::1]:50051\""},
    {"a:b:1",
     "\"a:b:1\" has more than one colon; an IPv6 address needs brackets, write for example "
     "\"[::1]:50051\""},
    {"[::1:50051", "\"[::1:50051\" lacks the closing bracket; write for example \"[::1]:50051\""},
    {"[::1]", "\"[::1]\" has no port; write for example \"[::1]:50051\""},
    {"[::1]50051", "\"[::1]\" has no port; write for example \"[::1]:50051\""},
    {"[localhost]:1",
     "\"[localhost]:1\": \"localhost\" is not an IPv6 address; write for example \"[::1]:50051\""},
    {"http://a:1", "\"http://a:1\" begins with a scheme; write it without: \"a:1\""},
    {"ipv4:127.0.0.1:1",
     "\"ipv4:127.0.0.1:1\" begins with a scheme; write it without: \"127.0.0.1:1\""},
    {"systemd:",
     "\"systemd:\" needs the name of a socket, as FileDescriptorName= of its unit has it; write "
     "for "
     "example \"systemd:web\""},
    {"systemd:a:b",
     "\"systemd:a:b\" needs the name of a socket, as FileDescriptorName= of its unit has it; write "
     "for example \"systemd:web\""},
    {"a\n:1", "\"a\\n:1\" has a control character; remove it"},
    {"unix:/a\xff", "\"unix:/a\\xff\" has a control character; remove it"},
    {"unix:/a\u202e", "\"unix:/a\\u202e\" has a control character; remove it"},
};
INSTANTIATE_TEST_SUITE_P(Tcp, BadAddressTest, testing::ValuesIn(kBadTcp));

const Bad kBadUnix[] = {
    {"unix:", "\"unix:\" has no path; write for example \"unix:/run/shop.sock\""},
    {"unix:?mode=0660",
     "\"unix:?mode=0660\" has no path; write for example \"unix:/run/shop.sock\""},
    {"unix:x.sock",
     "\"unix:x.sock\" has a relative path; write an absolute one, for example "
     "\"unix:/run/shop.sock\""},
    {"unix:/run/", "\"unix:/run/\" names a directory; write for example \"unix:/run/shop.sock\""},
    {"unix:/run/..",
     "\"unix:/run/..\" names a directory; write for example \"unix:/run/shop.sock\""},
    {"unix:@x",
     "\"unix:@x\" is an abstract socket, which has no owner and no mode; write a path, for example "
     "\"unix:/run/shop.sock\""},
    {"unix-abstract:x",
     "\"unix-abstract:x\" is an abstract socket, which has no owner and no mode; write a path, for "
     "example \"unix:/run/shop.sock\""},
    {"unix:/x?", "\"unix:/x?\": unknown setting \"\"; write for example \"?mode=0660&group=shop\""},
    {"unix:/x?owner=a",
     "\"unix:/x?owner=a\": unknown setting \"owner\"; write for example \"?mode=0660&group=shop\""},
    {"unix:/x?mode=0660,group=a",
     "\"unix:/x?mode=0660,group=a\": \"0660,group=a\" is not a mode; write three octal digits, for "
     "example \"?mode=0660\""},
    {"unix:/x?mode=",
     "\"unix:/x?mode=\": \"\" is not a mode; write three octal digits, for example \"?mode=0660\""},
    {"unix:/x?mode=66",
     "\"unix:/x?mode=66\": \"66\" is not a mode; write three octal digits, for example "
     "\"?mode=0660\""},
    {"unix:/x?mode=0888",
     "\"unix:/x?mode=0888\": \"0888\" is not a mode; write three octal digits, for example "
     "\"?mode=0660\""},
    {"unix:/x?mode=1777",
     "\"unix:/x?mode=1777\": \"1777\" is not a mode; write three octal digits, for example "
     "\"?mode=0660\""},
    {"unix:/x?group", "\"unix:/x?group\": the group is missing; write for example \"?group=shop\""},
    {"unix:/" + std::string(107, 'x'),
     "\"unix:/" + std::string(107, 'x') +
         "\": the path has 108 bytes, a socket's may have 107; choose a shorter one"},
};
INSTANTIATE_TEST_SUITE_P(Unix, BadAddressTest, testing::ValuesIn(kBadUnix));

TEST(AddressTest, UnixPathHasRightsOfItsOwn) {
  const auto plain = Address::Parse("unix:/run/shop.sock");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->kind, Address::Kind::kUnix);
  EXPECT_EQ(plain->path, "/run/shop.sock");
  EXPECT_EQ(plain->mode, 0666u);
  EXPECT_EQ(plain->group, "");
  EXPECT_EQ(plain->Canonical(), "unix:/run/shop.sock");

  const auto narrow = Address::Parse("unix:/run/shop.sock?group=shop&mode=660");
  ASSERT_TRUE(narrow);
  EXPECT_EQ(narrow->mode, 0660u);
  EXPECT_EQ(narrow->group, "shop");
  EXPECT_EQ(narrow->Canonical(), "unix:/run/shop.sock?mode=0660&group=shop");
}

TEST(AddressTest, RelativeUnixPathIsBelowTheFolder) {
  EXPECT_EQ(Address::Parse("unix:run/x.sock", "/etc/lastcall")->path, "/etc/lastcall/run/x.sock");
  EXPECT_EQ(Address::Parse("unix:../x.sock", "/etc/lastcall")->path, "/etc/x.sock");
  EXPECT_EQ(Address::Parse("unix:/run/x.sock", "/etc/lastcall")->path, "/run/x.sock");
  EXPECT_EQ(Address::Parse("unix:./x.sock", "/etc")->Canonical(), "unix:/etc/x.sock");
}

TEST(AddressTest, UnixPathOfMostBytesIsTaken) {
  EXPECT_TRUE(Address::Parse("unix:/" + std::string(106, 'x')));
}

TEST(AddressTest, UnixPathInTheFormOfGrpcIsTaken) {
  EXPECT_EQ(Address::Parse("unix:///run/x.sock")->path, "/run/x.sock");
}

struct Pair {
  std::string a;
  std::string b;
  bool overlap;
};

class OverlapTest : public testing::TestWithParam<Pair> {};

TEST_P(OverlapTest, IsFoundFromBothSides) {
  const auto a = Address::Parse(GetParam().a), b = Address::Parse(GetParam().b);
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a->Overlaps(*b), GetParam().overlap);
  EXPECT_EQ(b->Overlaps(*a), GetParam().overlap);
}

const Pair kPairs[] = {
    {"127.0.0.1:1", "127.0.0.1:1", true},
    {"127.0.0.1:1", "127.0.0.1:2", false},
    {"127.0.0.1:0", "127.0.0.1:0", false},
    {"127.0.0.1:1", "127.0.0.2:1", false},
    {"127.0.0.1:1", "0.0.0.0:1", true},
    {"127.0.0.1:1", "*:1", true},
    {"127.0.0.1:1", "[::]:1", false},
    {"[::1]:1", "[::]:1", true},
    {"[::1]:1", "[0:0:0:0:0:0:0:1]:1", true},
    {"[::1]:1", "[::2]:1", false},
    {"[::1]:1", "0.0.0.0:1", false},
    {"[::]:1", "0.0.0.0:1", false},
    {"[::]:1", "*:1", true},
    {"localhost:1", "LOCALHOST:1", true},
    {"localhost:1", "other:1", false},
    {"localhost:1", "*:1", true},
    {"localhost:1", "127.0.0.1:1", true},
    {"localhost:1", "0.0.0.0:1", true},
    {"localhost:1", "[::1]:1", false},
    {"host:1", "HOST:1", true},
    {"host:1", "127.0.0.1:1", false},
    {"host:1", "0.0.0.0:1", false},
    {"unix:/x", "unix:/x?mode=0600", true},
    {"unix:/x", "unix:/y", false},
    {"unix:/x", "*:1", false},
};
INSTANTIATE_TEST_SUITE_P(All, OverlapTest, testing::ValuesIn(kPairs));

}  // namespace
}  // namespace lastcall
