// Names of code, whoever loads files meanwhile.
#include "lastcall/threads/symbols.h"

#include <dlfcn.h>
#include <gmock/gmock.h>

#include <cerrno>
#include <cstdlib>

#include "own_thread.h"
#include "pipe_ends.h"

namespace lastcall {

[[gnu::noinline]] int FunctionWithAName(int number) { return number + 1; }

namespace {

using testing::HasSubstr;
using testing::StartsWith;

uint64_t Inside(int (*function)(int)) { return reinterpret_cast<uint64_t>(function) + 1; }

TEST(SymbolNameTest, NamesFunctionsOfThisProgramOfLibrariesAndOfNobody) {
  const std::string name = SymbolName(Inside(&FunctionWithAName));
  EXPECT_EQ(name, "lastcall::FunctionWithAName(int)+0x1 in " +
                      std::string(program_invocation_short_name));
  EXPECT_THAT(SymbolName(reinterpret_cast<uint64_t>(&std::abort), true),
              StartsWith("abort+0x0 in lib"));
  EXPECT_EQ(SymbolName(0x10), "0x10");
  EXPECT_EQ(FunctionName(reinterpret_cast<void*>(&FunctionWithAName)),
            "lastcall::FunctionWithAName(int) in " + std::string(program_invocation_short_name));
}

TEST(SymbolNameTest, TheInnermostIsWhereItIsAndTheOthersAreBehindACall) {
  const uint64_t begin = Inside(&FunctionWithAName) - 1;
  SymbolNames names;
  const auto twice = names.Of({begin, begin});
  EXPECT_THAT(twice[0], StartsWith("lastcall::FunctionWithAName(int)+0x0 in "));
  EXPECT_THAT(twice[1], testing::Not(StartsWith("lastcall::FunctionWithAName(int)+0x0")));
  EXPECT_EQ(names.Of({begin, begin}), twice);
}

// The initialiser of a file that is being loaded holds the loader's lock for as long as it likes.
TEST(SymbolNameTest, AFileWhoseInitialiserDoesNotReturnHoldsUpNoName) {
  const PipeEnds pipe;
  setenv("LASTCALL_TEST_WAIT_FOR", std::to_string(pipe.reader.get()).c_str(), 1);
  OwnThread loads([] { dlopen(LASTCALL_SLOW_INITIALISER, RTLD_NOW); });
  loads.AwaitIn("read");
  EXPECT_THAT(SymbolName(Inside(&FunctionWithAName)), HasSubstr("FunctionWithAName"));
  pipe.Release();
}

}  // namespace
}  // namespace lastcall
