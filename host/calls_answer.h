// What a host answers when it is asked about its calls.
#pragma once

#include <functional>

#include "lastcall/host/v1/host.pb.h"

#include <lastcall/host/host.h>

namespace lastcall {

// `tell` has each part of the answer, the last of which is complete, in a thread of the host's own.
void Answer(Host& host, const host::v1::CallsQuestion& question,
            std::function<void(host::v1::FromHost)> tell);

}  // namespace lastcall
