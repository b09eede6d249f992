// The receipt of a shutdown as text for people.
#pragma once

#include <string>

#include "lastcall/v1/receipt.pb.h"
#include "text.h"

namespace lastcall {

std::string RenderReceipt(v1::Receipt receipt, const Look& look);

}  // namespace lastcall
