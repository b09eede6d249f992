# How Lastcall's own targets are made: warnings are private, versions come from one place.

# lastcall_library(NAME SOURCES … [HEADERS …] [PRIVATE_HEADERS …] [PUBLIC …] [PRIVATE …]): the static
# library lastcall_NAME with the alias lastcall::NAME. HEADERS are installed, for programs of others;
# which ones those are is a promise, see docs/architecture.md.
function(lastcall_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;HEADERS;PRIVATE_HEADERS;PUBLIC;PRIVATE" ${ARGN})
  set(target lastcall_${name})
  add_library(${target} STATIC ${ARG_SOURCES} ${ARG_PRIVATE_HEADERS})
  add_library(lastcall::${name} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_compile_options(${target} PRIVATE ${LASTCALL_WARNINGS})
  target_link_libraries(${target} PUBLIC ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE})
  target_sources(${target} PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/lib
                                  FILES ${ARG_HEADERS})
  set_property(GLOBAL APPEND PROPERTY LASTCALL_LIBRARIES ${target})
endfunction()

# lastcall_headers(NAME HEADERS … [INTERFACE …]): the library lastcall::NAME, which is headers alone.
function(lastcall_headers name)
  cmake_parse_arguments(ARG "" "" "HEADERS;INTERFACE" ${ARGN})
  set(target lastcall_${name})
  add_library(${target} INTERFACE)
  add_library(lastcall::${name} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  target_compile_features(${target} INTERFACE cxx_std_20)
  target_link_libraries(${target} INTERFACE ${ARG_INTERFACE})
  target_sources(${target} INTERFACE FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/lib
                                     FILES ${ARG_HEADERS})
  set_property(GLOBAL APPEND PROPERTY LASTCALL_LIBRARIES ${target})
endfunction()

# lastcall_program(NAME SOURCES … LIBRARIES …)
function(lastcall_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBRARIES" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_compile_options(${name} PRIVATE ${LASTCALL_WARNINGS})
  target_link_libraries(${name} PRIVATE ${ARG_LIBRARIES})
endfunction()

# lastcall_proto_library(TARGET PROTOS … [PUBLIC …]): C++ messages and, where the file has a service,
# its gRPC stubs. PROTOS are relative to proto/.
function(lastcall_proto_library target)
  cmake_parse_arguments(ARG "" "" "PROTOS;PUBLIC" ${ARGN})
  set(root ${PROJECT_SOURCE_DIR}/proto)
  set(out ${PROJECT_BINARY_DIR}/proto)
  set(sources)
  foreach(proto ${ARG_PROTOS})
    string(REGEX REPLACE "\\.proto$" "" stem ${proto})
    set(generated ${out}/${stem}.pb.cc ${out}/${stem}.pb.h)
    set(grpc_arguments)
    file(STRINGS ${root}/${proto} services REGEX "^service ")
    if(services)
      list(APPEND generated ${out}/${stem}.grpc.pb.cc ${out}/${stem}.grpc.pb.h)
      set(grpc_arguments --grpc_out=${out}
          --plugin=protoc-gen-grpc=$<TARGET_FILE:gRPC::grpc_cpp_plugin>)
    endif()
    add_custom_command(
      OUTPUT ${generated}
      COMMAND ${CMAKE_COMMAND} -E make_directory ${out}
      COMMAND protobuf::protoc -I${root} --cpp_out=${out} ${grpc_arguments} ${root}/${proto}
      DEPENDS ${root}/${proto}
      COMMENT "Generating ${stem}.pb" VERBATIM)
    list(APPEND sources ${generated})
  endforeach()
  add_library(${target} STATIC ${sources})
  # What protoc makes of several files shares names.
  set_target_properties(${target} PROPERTIES UNITY_BUILD OFF)
  target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${out}>)
  target_link_libraries(${target} PUBLIC gRPC::grpc++ protobuf::libprotobuf ${ARG_PUBLIC})
  # protoc's code is not what is tested, and takes a minute a file. The thread sanitizer has to see it.
  if(LASTCALL_SANITIZE MATCHES address)
    target_compile_options(${target} PRIVATE -fno-sanitize=all)
  endif()
endfunction()
