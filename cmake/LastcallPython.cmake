# Python messages and stubs for our own protocols, for the tests and for examples/echo and stall:
# the target echo_python fills build/PRESET/python.
set(python_dir ${PROJECT_BINARY_DIR}/python)
set(python_protos
  examples/echo/echo.proto examples/echo/callback_echo.proto examples/stall/stall.proto
  proto/grpc/health/v1/health.proto
  proto/lastcall/admin/v1/admin.proto proto/lastcall/v1/receipt.proto
  proto/lastcall/v1/stage.proto proto/lastcall/v1/word.proto
  tests/process/reflection.proto tests/unit/plugins/stuck.proto)
list(TRANSFORM python_protos PREPEND ${PROJECT_SOURCE_DIR}/)
add_custom_command(
  OUTPUT ${python_dir}/stamp
  COMMAND ${CMAKE_COMMAND} -E make_directory ${python_dir}
  COMMAND protobuf::protoc
    -I${PROJECT_SOURCE_DIR}/examples/echo -I${PROJECT_SOURCE_DIR}/examples/stall
    -I${PROJECT_SOURCE_DIR}/proto
    -I${PROJECT_SOURCE_DIR}/tests/process -I${PROJECT_SOURCE_DIR}/tests/unit/plugins
    --python_out=${python_dir} --grpc_out=${python_dir}
    --plugin=protoc-gen-grpc=$<TARGET_FILE:gRPC::grpc_python_plugin> ${python_protos}
  COMMAND ${CMAKE_COMMAND} -E rm -rf ${python_dir}/grpc_stubs
  # A package "grpc" of our own would hide Debian's.
  COMMAND ${CMAKE_COMMAND} -E rename ${python_dir}/grpc ${python_dir}/grpc_stubs
  COMMAND ${CMAKE_COMMAND} -E touch ${python_dir}/stamp
  DEPENDS ${python_protos}
  COMMENT "Generating Python stubs" VERBATIM)
add_custom_target(echo_python ALL DEPENDS ${python_dir}/stamp)
