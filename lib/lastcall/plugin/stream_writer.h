// StreamWriter: where a producer puts the messages of a stream, one after another. See BeginStream and
// RunStream; a test of a producer may have one of its own.
#pragma once

namespace lastcall {

// Threads: one, the producer's.
template <class T>
class StreamWriter {
 public:
  virtual ~StreamWriter() = default;

  // Blocks: while the client has not taken enough of what was written. False: nobody wants more, for
  // the client is gone, the call cancelled or past its deadline; it stays so.
  virtual bool Write(T message) = 0;
};

}  // namespace lastcall
