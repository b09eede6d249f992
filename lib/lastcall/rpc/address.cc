#include "lastcall/rpc/address.h"
