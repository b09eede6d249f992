#include "lastcall/rpc/listener.h"
