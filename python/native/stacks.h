// The stacks of Python's threads, for a receipt. Taken when a process is about to be ended by
// force, so in bounded time, whoever holds the interpreter lock.
#pragma once

#include <pybind11/pybind11.h>

#include <pthread.h>

#include <map>
#include <string>
#include <vector>

namespace lastcall::python {

// Whether the interpreter ends, so that its lock is for the thread that ends it alone.
bool IsFinalizing();

struct ThreadStack {
  std::string name;                // as threading says; empty: not one of its threads
  std::vector<std::string> lines;  // innermost first
};

class Stacks {
 public:
  // `take` returns {ident: (name, [line])}, innermost first. Owns: it forever, for this may go
  // when the interpreter lock is not to be had any more.
  explicit Stacks(pybind11::function take) : take_(take.release().ptr()) {}
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;

  // Empty when the interpreter lock cannot be had within 200 ms. Taken once; then it is the same.
  // Threads: one at a time, without the interpreter lock.
  const std::map<pthread_t, ThreadStack>& Take();

 private:
  PyObject* const take_;
  bool taken_ = false;
  std::map<pthread_t, ThreadStack> stacks_;
};

}  // namespace lastcall::python
