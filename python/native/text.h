// Python's text for the library.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

namespace lastcall::python {

// UTF-8. Python also has texts that no UTF-8 stands for: a file name that is not UTF-8 is one with
// half of a surrogate pair in it ("\udcff"), as is a name made of it. That must not keep a stop from
// being asked for, nor a call from being entered. Order: with the interpreter lock.
inline std::string TextOf(const pybind11::str& text) {
  const auto bytes = pybind11::reinterpret_steal<pybind11::bytes>(
      PyUnicode_AsEncodedString(text.ptr(), "utf-8", "backslashreplace"));
  if (!bytes) throw pybind11::error_already_set();  // no memory
  return bytes;
}

}  // namespace lastcall::python
