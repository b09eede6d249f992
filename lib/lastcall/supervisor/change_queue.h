// ChangeQueue: changes of processes, one after another. It decides which is next and who is answered;
// what a change does is for whoever begins it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <lastcall/lifecycle/cause.h>
#include <lastcall/supervisor/process_spec.h>

namespace lastcall {

// Threads: the loop's.
class ChangeQueue {
 public:
  // What to do with one process.
  struct Change {
    enum class Kind { kAdd, kReplace, kRemove };
    Kind kind = Kind::kReplace;
    ProcessSpec spec;  // kRemove: its name alone; kReplace: that is enough where it stays as it is
    uint32_t frozen = 0;  // kReplace: only while this incarnation is current and frozen
  };
  struct Outcome {
    std::string process;
    std::string failure;       // empty: done
    uint32_t incarnation = 0;  // the one that serves now
  };
  using Changed = std::function<void(const std::vector<Outcome>&)>;
  // Answered by OnOver, once, during the call or later.
  using Begin = std::function<void(const Change&, const Cause& by)>;

  explicit ChangeQueue(Begin begin) : begin_(std::move(begin)) {}

  // The list begins when those before it are over. The first change that fails ends it, and what was
  // changed before stays. `changed` runs then, with one outcome for each that was begun.
  void Add(std::vector<Change> changes, const Cause& by, Changed changed);
  // The change that was begun last is over.
  void OnOver(Outcome outcome);
  // Answers all: the next change of each list has failed so.
  void Abandon(const std::string& failure);
  // Nothing is in progress, and nothing waits.
  bool empty() const { return jobs_.empty(); }

 private:
  struct Job {
    std::vector<Change> changes;
    Cause by;
    Changed changed;
    std::vector<Outcome> outcomes;  // so far
    bool begun = false;             // the next of them
  };

  void Next();
  void End();

  const Begin begin_;
  std::deque<Job> jobs_;
};

}  // namespace lastcall
