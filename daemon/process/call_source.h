// CallSource: a process that can be asked about its calls.
#pragma once

#include <memory>

#include "lastcall/host/v1/host.pb.h"

namespace lastcall {

// Who hears the answer. Threads: the loop's.
class CallsListener {
 public:
  virtual ~CallsListener() = default;
  // A part of it; the last says so. Its texts are as the process has written them.
  virtual void Heard(host::v1::CallsAnswer part) = 0;
  // The process is gone, or has too many questions open: there is no answer.
  virtual void NoAnswer() = 0;
};

class CallSource {
 public:
  virtual ~CallSource() = default;
  // The answer comes later, from the loop, to whom it may interest then. The question's id is set here.
  virtual void BeginAsk(host::v1::CallsQuestion question,
                        std::weak_ptr<CallsListener> listener) = 0;
};

}  // namespace lastcall
