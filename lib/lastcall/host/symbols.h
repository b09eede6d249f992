// Names for code addresses, for reports.
#pragma once

#include <string>

namespace lastcall {

// "Prices::Watch(grpc::ServerContext*, …)+0x1f in prices.so". Looks into the file's full symbol table
// too, for a plugin hides its names from the dynamic one; "prices.so+0x1234" where it was stripped.
std::string SymbolName(void* address);

// The same for a function by its own address, as a pointer to it has it: "OnSignal(int) in prices.so".
std::string FunctionName(void* function);

}  // namespace lastcall
