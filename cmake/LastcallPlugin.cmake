# What plugins, and the programs that load them, are built with; installed with the package.

if(NOT TARGET lastcall::plugin_headers)
  # Within Lastcall's own tree; elsewhere the package has brought it.
  add_library(lastcall_plugin_headers INTERFACE)
  add_library(lastcall::plugin_headers ALIAS lastcall_plugin_headers)
  set_target_properties(lastcall_plugin_headers PROPERTIES EXPORT_NAME plugin_headers)
  target_compile_features(lastcall_plugin_headers INTERFACE cxx_std_20)
  target_include_directories(lastcall_plugin_headers
                             INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/lib>)
endif()

# lastcall_add_plugin(NAME prices SOURCES prices.cc [PROTOS shop/prices.proto …]
#                     [PROTO_ROOT DIR] [IMPORT_DIRS DIR …])
#
# The target prices makes ${CMAKE_BINARY_DIR}/plugins/prices.so, with its manifest.
#
# PROTOS are compiled into it, messages and gRPC stubs; their names are relative to PROTO_ROOT (the
# current directory, if not given), and so are the headers: "shop/prices.grpc.pb.h". What they import
# from elsewhere is found in IMPORT_DIRS and is expected in a library that you link. A process can
# have a .proto file only once: plugins that share one link lastcall_add_protos(… SHARED).
#
# A plugin does not link Lastcall: the host that loads it has the symbols. To link more, use
# target_link_libraries(prices PRIVATE …).
function(lastcall_add_plugin)
  cmake_parse_arguments(PARSE_ARGV 0 ARG "" "NAME;PROTO_ROOT" "SOURCES;PROTOS;IMPORT_DIRS")
  if(NOT ARG_NAME MATCHES "^[A-Za-z0-9_][A-Za-z0-9_.-]*$" OR NOT ARG_SOURCES
     OR ARG_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "usage: lastcall_add_plugin(NAME name SOURCES file… [PROTOS file…] "
                        "[PROTO_ROOT dir] [IMPORT_DIRS dir…])")
  endif()
  set(private ${CMAKE_CURRENT_BINARY_DIR}/${ARG_NAME}.plugin)

  add_library(${ARG_NAME} MODULE ${ARG_SOURCES})
  set(descriptors)
  if(ARG_PROTOS)
    set(descriptors ${private}/${ARG_NAME}.protoset)
    _lastcall_generate(${ARG_NAME} ${private} ${descriptors} ROOT ${ARG_PROTO_ROOT}
                       PROTOS ${ARG_PROTOS} IMPORT_DIRS ${ARG_IMPORT_DIRS})
    target_include_directories(${ARG_NAME} SYSTEM PRIVATE ${private})
  endif()
  _lastcall_add_manifest(${ARG_NAME} ${private} "${descriptors}")

  set_target_properties(${ARG_NAME} PROPERTIES
    PREFIX "" SUFFIX .so LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/plugins
    CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  target_link_libraries(${ARG_NAME} PRIVATE lastcall::plugin_headers gRPC::grpc++
                                            protobuf::libprotobuf)
  # Two plugins may link the same static library: each keeps its copy to itself.
  target_link_options(${ARG_NAME} PRIVATE LINKER:--build-id LINKER:--exclude-libs,ALL)
endfunction()

# lastcall_add_plugin_test(NAME prices_test PLUGIN prices SOURCES prices_test.cc)
#
# The executable prices_test: its sources and the plugin's own code, messages and stubs included, with
# <lastcall/testing/plugin_harness.h>. To link a test framework, use target_link_libraries.
function(lastcall_add_plugin_test)
  cmake_parse_arguments(PARSE_ARGV 0 ARG "" "NAME;PLUGIN" "SOURCES")
  if(NOT ARG_NAME OR NOT TARGET "${ARG_PLUGIN}" OR NOT ARG_SOURCES OR ARG_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "usage: lastcall_add_plugin_test(NAME name PLUGIN target SOURCES file…)")
  endif()
  add_executable(${ARG_NAME} ${ARG_SOURCES} $<TARGET_OBJECTS:${ARG_PLUGIN}>)
  target_include_directories(${ARG_NAME} SYSTEM PRIVATE
                             $<TARGET_PROPERTY:${ARG_PLUGIN},INCLUDE_DIRECTORIES>)
  target_link_libraries(${ARG_NAME} PRIVATE lastcall::testing
                                            $<TARGET_PROPERTY:${ARG_PLUGIN},LINK_LIBRARIES>)
  # The generated headers are the plugin's to make.
  add_dependencies(${ARG_NAME} ${ARG_PLUGIN})
endfunction()

# lastcall_add_protos(NAME shop_protos SHARED PROTOS shop/common.proto … [PROTO_ROOT DIR]
#                     [IMPORT_DIRS DIR …])
#
# The shared library shop_protos with the messages and stubs of PROTOS, for plugins that use the
# same ones: they import them (IMPORT_DIRS) and link it (target_link_libraries).
function(lastcall_add_protos)
  cmake_parse_arguments(PARSE_ARGV 0 ARG "SHARED" "NAME;PROTO_ROOT" "PROTOS;IMPORT_DIRS")
  if(NOT ARG_NAME OR NOT ARG_SHARED OR NOT ARG_PROTOS OR ARG_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "usage: lastcall_add_protos(NAME name SHARED PROTOS file… "
                        "[PROTO_ROOT dir] [IMPORT_DIRS dir…])")
  endif()
  set(out ${CMAKE_CURRENT_BINARY_DIR}/${ARG_NAME}.protos)
  add_library(${ARG_NAME} SHARED)
  _lastcall_generate(${ARG_NAME} ${out} ${out}/${ARG_NAME}.protoset ROOT ${ARG_PROTO_ROOT}
                     PROTOS ${ARG_PROTOS} IMPORT_DIRS ${ARG_IMPORT_DIRS})
  target_include_directories(${ARG_NAME} SYSTEM INTERFACE $<BUILD_INTERFACE:${out}>)
  target_include_directories(${ARG_NAME} PRIVATE ${out})
  target_link_libraries(${ARG_NAME} PUBLIC gRPC::grpc++ protobuf::libprotobuf)
endfunction()

# lastcall_export_sdk(TARGET): lets the executable TARGET load plugins: all of the SDK is linked
# into it, used or not, and exported for them. Our lastcall-host is such a program.
function(lastcall_export_sdk target)
  set(libraries lastcall::core lastcall::rpc lastcall::plugin)
  target_link_libraries(${target} PRIVATE ${libraries})
  # As options these come first and once; where CMake repeats them, nothing is left to take. With
  # its own WHOLE_ARCHIVE each repetition would define everything again.
  list(TRANSFORM libraries REPLACE "(.+)" "$<TARGET_FILE:\\1>")
  target_link_options(${target} PRIVATE LINKER:--push-state,--whole-archive ${libraries}
                                        LINKER:--pop-state)
  set_target_properties(${target} PROPERTIES ENABLE_EXPORTS ON)
endfunction()

# Generates the sources of PROTOS, and their FileDescriptorSet for the manifest, into `out`.
function(_lastcall_generate target out descriptors)
  cmake_parse_arguments(PARSE_ARGV 3 ARG "" "ROOT" "PROTOS;IMPORT_DIRS")
  if(NOT ARG_ROOT)
    set(ARG_ROOT .)
  endif()
  cmake_path(ABSOLUTE_PATH ARG_ROOT BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR} NORMALIZE)
  set(generated)
  foreach(proto ${ARG_PROTOS})
    if(NOT proto MATCHES "\\.proto$" OR NOT EXISTS ${ARG_ROOT}/${proto})
      message(FATAL_ERROR "${target}: there is no .proto file ${proto} in ${ARG_ROOT}")
    endif()
    string(REGEX REPLACE "\\.proto$" "" stem ${out}/${proto})
    list(APPEND generated ${stem}.pb.cc ${stem}.pb.h ${stem}.grpc.pb.cc ${stem}.grpc.pb.h)
  endforeach()
  set(directories -I${ARG_ROOT})
  foreach(directory ${ARG_IMPORT_DIRS})
    cmake_path(ABSOLUTE_PATH directory BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR} NORMALIZE)
    list(APPEND directories -I${directory})
  endforeach()
  list(TRANSFORM ARG_PROTOS PREPEND ${ARG_ROOT}/ OUTPUT_VARIABLE inputs)
  file(MAKE_DIRECTORY ${out})
  add_custom_command(
    OUTPUT ${generated} ${descriptors}
    COMMAND protobuf::protoc ${directories} --cpp_out=${out} --grpc_out=${out}
            --plugin=protoc-gen-grpc=$<TARGET_FILE:gRPC::grpc_cpp_plugin>
            --descriptor_set_out=${descriptors} ${inputs}
    DEPENDS ${inputs}
    COMMENT "Generating the protos of ${target}" VERBATIM)
  target_sources(${target} PRIVATE ${generated})
endfunction()

# Adds the source that embeds the manifest; see lastcall/plugin/manifest_note.h.
function(_lastcall_add_manifest target out descriptors)
  set(source ${out}/${target}.manifest.cc)
  set(text "// Generated by lastcall_add_plugin().\n#include <lastcall/plugin/manifest_note.h>\n\n")
  string(APPEND text "LASTCALL_MANIFEST(\"${target}\")\n")
  if(descriptors)
    string(APPEND text "LASTCALL_DESCRIPTORS(\"${descriptors}\")\n")
    set_source_files_properties(${source} PROPERTIES OBJECT_DEPENDS ${descriptors})
  endif()
  file(CONFIGURE OUTPUT ${source} CONTENT "${text}" @ONLY)
  # By itself also in unity builds, which know nothing of what it depends on.
  set_source_files_properties(${source} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  target_sources(${target} PRIVATE ${source})
endfunction()
