// Names for code addresses, for reports. Takes no lock of the loader, so that it waits for nobody who
// loads a file.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace lastcall {

// "Prices::Watch(grpc::ServerContext*, …)+0x1f in prices.so". Looks into the file's full symbol table
// too, for a plugin hides its names from the dynamic one; "prices.so+0x1234" where it was stripped.
// A return address points behind the call, which may be the end of the function; `exact`: the
// instruction itself is meant.
// Blocks: reads the file.
std::string SymbolName(uint64_t address, bool exact = false);

// The same for a function by its own address, as a pointer to it has it: "OnSignal(int) in prices.so".
std::string FunctionName(void* function);

// The names of stacks that have frames in common: each is looked up once.
class SymbolNames {
 public:
  // `frames` as TakeStack has them. Blocks: reads files.
  std::vector<std::string> Of(const std::vector<uint64_t>& frames);

 private:
  std::map<std::pair<uint64_t, bool>, std::string> known_;
};

}  // namespace lastcall
