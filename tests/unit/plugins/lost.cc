extern "C" __attribute__((visibility("default"))) int Lost() { return 0; }
