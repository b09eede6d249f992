// The address of a context that nobody looks into.
#pragma once

namespace grpc {
class ServerContextBase;
}

namespace lastcall {

class FakeContext {
 public:
  grpc::ServerContextBase* get() const {
    return reinterpret_cast<grpc::ServerContextBase*>(&memory_);
  }
  const grpc::ServerContextBase& operator*() const { return *get(); }

 private:
  alignas(64) mutable char memory_[64] = {};
};

}  // namespace lastcall
