// What a call waits for that is not its handler, for people.
#pragma once

#include <string_view>

#include <lastcall/rpc/call_info.h>

namespace lastcall {

// Empty: it is in its handler's hands, or over.
constexpr std::string_view WaitText(CallWaits waits) {
  switch (waits) {
    case CallWaits::kClient: return "its client does not take what was written";
    case CallWaits::kInput: return "its client sends nothing";
    case CallWaits::kHandler:
    case CallWaits::kFinish: break;
  }
  return "";
}

}  // namespace lastcall
