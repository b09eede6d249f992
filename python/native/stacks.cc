#include "stacks.h"

#include <pybind11/stl.h>

#include <memory>
#include <thread>
#include <utility>

#include "lastcall/base/clock.h"
#include "lastcall/event/latch.h"

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
         found.cast<std::map<pthread_t, std::pair<std::string, std::vector<std::string>>>>()) {
      answer.stacks[ident] = {stack.first, stack.second};
    }
  } catch (const std::exception&) {
    answer.stacks.clear();  // names alone then
  }
}

}  // namespace

const std::map<pthread_t, ThreadStack>& Stacks::Take() {
  if (std::exchange(taken_, true) || _Py_IsFinalizing() != 0) return stacks_;
  const auto answer = std::make_shared<Answer>();
  // Left behind where somebody holds the lock for ever: the process ends next.
  std::thread([answer, take = take_] {
    Ask(take, *answer);
    answer->complete.Set();
  }).detach();
  if (answer->complete.WaitUntil(std::chrono::steady_clock::now() + kEnough)) {
    stacks_ = std::move(answer->stacks);
  }
  return stacks_;
}

}  // namespace lastcall::python
