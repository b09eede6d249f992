#include "wire/logging.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/systemd_sink.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <memory>
#include <string_view>
#include <utility>

#include <lastcall/base/line_writer.h>

namespace lastcall {
namespace {

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kTrace: return spdlog::level::trace;
    case LogLevel::kDebug: return spdlog::level::debug;
    case LogLevel::kInfo: return spdlog::level::info;
    case LogLevel::kWarning: return spdlog::level::warn;
    case LogLevel::kError: return spdlog::level::err;
  }
  return spdlog::level::info;
}

// systemd.exec(5): JOURNAL_STREAM is the device and inode of the journal's socket.
bool StderrIsJournal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat status {};
  if (stream == nullptr || fstat(STDERR_FILENO, &status) != 0) return false;
  return std::string(stream) == std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino);
}

// spdlog's forms and none of its threads: what it does at its end waits for the reader.
class Form {
 public:
  explicit Form(std::string name) : name_(std::move(name)) {}

  spdlog::details::log_msg Message(const LogQueue::Line& line) const {
    const auto at = std::chrono::time_point_cast<spdlog::log_clock::duration>(line.at);
    return {at, {}, name_, ToSpdlog(line.level), line.text};
  }

  // What stands before the message.
  std::string Head(const LogQueue::Line& line) {
    auto message = Message(line);
    message.payload = "";
    spdlog::memory_buf_t text;
    formatter_.format(message, text);
    return {text.data(), text.size()};
  }

 private:
  const std::string name_;
  spdlog::pattern_formatter formatter_{
      "%Y-%m-%d %H:%M:%S.%e %-7l %n: ", spdlog::pattern_time_type::local, ""};
};

LogQueue::Sink StderrSink(const std::string& name) {
  return [form = std::make_shared<Form>(name)](const LogQueue::Line& line) {
    return LineWriter(STDERR_FILENO).Write(form->Head(line), InLog(line.text));
  };
}

LogQueue::Sink JournalSink(const std::string& name) {
  const auto journal = std::make_shared<spdlog::sinks::systemd_sink_st>(name, true);
  journal->set_pattern("%n: %v");
  return [journal, form = std::make_shared<Form>(name)](const LogQueue::Line& line) {
    const std::string text = InLog(line.text);
    auto message = form->Message(line);
    message.payload = text;
    journal->log(message);
    return true;
  };
}

}  // namespace

Logger::Logger(const std::string& name, LogLevel level)
    : queue_(StderrIsJournal() ? JournalSink(name) : StderrSink(name), level) {}

}  // namespace lastcall
