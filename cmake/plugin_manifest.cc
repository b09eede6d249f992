// Compiled into a plugin, this is its manifest: for those who build without lastcall_add_plugin().
//
//   c++ $(pkg-config --cflags lastcall-plugin) -DLASTCALL_PLUGIN_NAME='"prices"'
//       -DLASTCALL_PLUGIN_PROTOSET='"prices.protoset"' -c $(pkg-config --variable=manifest lastcall-plugin)
//
// The protoset is what `protoc --descriptor_set_out=prices.protoset prices.proto` writes, of the
// .proto files that are compiled into the plugin; leave it out where there are none.
#include <lastcall/plugin/manifest_note.h>

LASTCALL_MANIFEST(LASTCALL_PLUGIN_NAME)
#ifdef LASTCALL_PLUGIN_PROTOSET
LASTCALL_DESCRIPTORS(LASTCALL_PLUGIN_PROTOSET)
#endif
