// What a fuzz target is: one function, called by libFuzzer with what it makes up, or by replay.cc with
// the files of tests/fuzz/corpus.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
