// LineWriter: what it writes into a pipe is whole, whatever its length and whoever else writes.
#include <lastcall/base/line_writer.h>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <climits>
#include <csignal>
#include <cstdio>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <lastcall/base/unique_fd.h>

namespace lastcall {
namespace {

using testing::ElementsAre;

std::vector<std::string> LinesOf(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

class PipeTest : public testing::Test {
 protected:
  void SetUp() override {
    int ends[2];
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    reader_.Reset(ends[0]);
    writer_.Reset(ends[1]);
    ASSERT_GT(fcntl(writer_.get(), F_SETPIPE_SZ, PIPE_BUF), 0);  // a page: full with any line
  }

  // Blocks: until the writers have gone.
  std::string ReadAll() {
    std::string text;
    char block[64 << 10];
    for (ssize_t size; (size = read(reader_.get(), block, sizeof(block))) > 0;) {
      text.append(block, static_cast<size_t>(size));
    }
    return text;
  }

  UniqueFd reader_, writer_;
};

TEST_F(PipeTest, ALongLineIsSeveralAndAHeadStandsBeforeEach) {
  std::string text;
  while (text.size() < 10'000) text += "äöü€";
  std::jthread writing([this, &text] {
    EXPECT_TRUE(LineWriter(writer_.get()).Write("head: ", text));
    writer_.Reset();
  });
  std::string whole;
  const std::vector<std::string> lines = LinesOf(ReadAll());
  EXPECT_EQ(lines.size(), 3u);
  for (std::string line : lines) {
    EXPECT_LT(line.size(), size_t{PIPE_BUF});
    ASSERT_TRUE(line.starts_with("head: ")) << line;
    line.erase(0, 6);
    if (&line != &lines.front() && line.starts_with("…")) line.erase(0, 3);
    if (line.ends_with("…")) line.erase(line.size() - 3);
    EXPECT_NE(static_cast<unsigned char>(line.front()) & 0xc0, 0x80) << "half a character";
    whole += line;
  }
  EXPECT_EQ(whole, text);
}

TEST_F(PipeTest, OneThatFitsIsNotDivided) {
  const std::string text(PIPE_BUF - 7, 'x');
  std::jthread writing([this, &text] {
    EXPECT_TRUE(LineWriter(writer_.get()).Write("head: ", text));
    writer_.Reset();
  });
  EXPECT_EQ(ReadAll(), "head: " + text + "\n");
}

TEST_F(PipeTest, LinesOfSeveralWritersAreWhole) {
  constexpr int kLines = 200;
  {
    std::vector<std::jthread> writers;
    for (const char letter : {'a', 'b', 'c'}) {
      writers.emplace_back([this, letter] {
        const UniqueFd own(dup(writer_.get()));
        for (int i = 1; i <= kLines; ++i) {
          const std::string text(static_cast<size_t>(i * 40), letter);
          EXPECT_TRUE(LineWriter(own.get()).Write({&letter, 1}, text));
        }
      });
    }
    std::jthread closing([&] {
      for (auto& writer : writers) writer.join();
      writer_.Reset();
    });
    for (const std::string& line : LinesOf(ReadAll())) {
      std::string letters = line;
      for (const char* goes_on = "…"; letters.find(goes_on) != std::string::npos;) {
        letters.erase(letters.find(goes_on), 3);
      }
      EXPECT_EQ(letters.find_first_not_of(letters.front()), std::string::npos) << line;
    }
  }
}

TEST_F(PipeTest, TheDescriptorStaysAsItWas) {
  const int flags = fcntl(writer_.get(), F_GETFL);
  EXPECT_TRUE(LineWriter(writer_.get()).Write("", "line"));
  EXPECT_EQ(fcntl(writer_.get(), F_GETFL), flags);
}

// As a parent may have left it.
TEST_F(PipeTest, ItWaitsForRoomThoughTheDescriptorDoesNot) {
  fcntl(writer_.get(), F_SETFL, O_NONBLOCK);
  std::jthread writing([this] {
    for (int i = 0; i < 10; ++i)
      EXPECT_TRUE(LineWriter(writer_.get()).Write("", std::string(4000, 'x')));
    writer_.Reset();
  });
  EXPECT_EQ(ReadAll().size(), 10u * 4001);
}

TEST_F(PipeTest, WithoutAReaderALineIsLost) {
  signal(SIGPIPE, SIG_IGN);
  reader_.Reset();
  EXPECT_FALSE(LineWriter(writer_.get()).Write("", "line"));
}

TEST(LineWriterTest, AFileTakesAnyLineInOnePiece) {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::tmpfile(), &std::fclose);
  const std::string text(100'000, 'x');
  EXPECT_TRUE(LineWriter(fileno(file.get())).Write("head: ", text));
  std::string there(text.size() + 100, ' ');
  there.resize(static_cast<size_t>(pread(fileno(file.get()), there.data(), there.size(), 0)));
  EXPECT_EQ(there, "head: " + text + "\n");
}

TEST(LineWriterTest, ADiskWithoutRoomTakesNone) {
  const UniqueFd full(open("/dev/full", O_WRONLY | O_CLOEXEC));
  EXPECT_FALSE(LineWriter(full.get()).Write("", "line"));
}

TEST(LineWriterTest, NorDoesADescriptorThatIsClosed) {
  EXPECT_FALSE(LineWriter(-1).Write("", "line"));
}

}  // namespace
}  // namespace lastcall
