// CallDirectory: every call in flight in this process, by its context. The one global of the library:
// gRPC gives a handler nothing but its context, and Call::Of must find the call from there.
#pragma once

#include <memory>

namespace grpc {
class ServerContextBase;
}

namespace lastcall {

class LiveCall;

// A context is an address here: nobody looks into it. It costs a call no memory of its own to be here, and no
// reference: whoever enters it keeps it until it has left. Threads: any.
class CallDirectory {
 public:
  // What a call has for being here.
  class Place {
    friend class CallDirectory;
    LiveCall* next_ = nullptr;
  };

  // gRPC may give a context's memory to the next call before the last one's end was told: it is the
  // next one's from here on. Gives the last one back; null: there is none.
  static std::shared_ptr<LiveCall> Enter(LiveCall& call);
  // Nothing happens where the context is another call's already.
  static void Leave(LiveCall& call);
  // Null: none.
  static std::shared_ptr<LiveCall> Find(const grpc::ServerContextBase* context);

 private:
  static LiveCall** PlaceOf(LiveCall*& first, const grpc::ServerContextBase* context);
  static std::shared_ptr<LiveCall> TakeOut(LiveCall** place);
};

}  // namespace lastcall
