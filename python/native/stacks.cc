#include "stacks.h"

#include <pybind11/stl.h>

#include <memory>
#include <system_error>
#include <thread>
#include <utility>

#include "lastcall/base/clock.h"
#include "lastcall/base/safe_text.h"
#include "lastcall/event/latch.h"
#include "text.h"

namespace py = pybind11;

namespace lastcall::python {
namespace {

constexpr Duration kEnough = std::chrono::milliseconds(200);

struct Answer {
  Latch complete;
  std::map<pthread_t, ThreadStack> stacks;
};

void Ask(PyObject* take, Answer& answer) {
  const py::gil_scoped_acquire lock;
  try {
    const auto found = py::reinterpret_borrow<py::function>(take)();
    for (const auto& [ident, stack] :
         found.cast<std::map<pthread_t, std::pair<py::str, std::vector<py::str>>>>()) {
      ThreadStack& text = answer.stacks[ident];
      text.name = SafeText(TextOf(stack.first), kMaxSafeName);
      for (const py::str& line : stack.second) text.lines.push_back(SafeText(TextOf(line)));
    }
  } catch (const std::exception&) {
    answer.stacks.clear();  // names alone then
  }
}

}  // namespace

bool IsFinalizing() {
#if PY_VERSION_HEX >= 0x030D0000
  return Py_IsFinalizing() != 0;
#else
  return _Py_IsFinalizing() != 0;
#endif
}

const std::map<pthread_t, ThreadStack>& Stacks::Take() {
  if (std::exchange(taken_, true) || IsFinalizing()) return stacks_;
  const auto answer = std::make_shared<Answer>();
  try {
    // Left behind where somebody holds the lock forever: the process ends next.
    std::thread([answer, take = take_] {
      Ask(take, *answer);
      answer->complete.Set();
    }).detach();
  } catch (const std::system_error&) {
    return stacks_;  // as many threads as there may be: names alone then
  }
  if (answer->complete.WaitUntil(std::chrono::steady_clock::now() + kEnough)) {
    stacks_ = std::move(answer->stacks);
  }
  return stacks_;
}

}  // namespace lastcall::python
