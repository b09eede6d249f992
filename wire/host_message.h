// What a host says, at its two ends: cut to what its supervisor takes, and whether a host can have
// said it.
#pragma once

#include "lastcall/host/v1/host.pb.h"

namespace lastcall {

// Shortens a message that is longer than kMaxFromHost: the methods that were called least are
// counted together, stacks and then names are left out of a receipt. What is counted stays right.
void FitToSupervisor(host::v1::FromHost& message);

// Whether a host reports as much. A message of few bytes can become many times as many objects.
bool IsPlausible(const host::v1::Report& report);
bool IsPlausible(const host::v1::CallsAnswer& answer);

}  // namespace lastcall
