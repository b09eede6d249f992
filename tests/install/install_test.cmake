# Installs BUILD, moves what was installed, builds the project in consumer/ with it, and runs that.

include(${CMAKE_CURRENT_LIST_DIR}/run.cmake)

file(REMOVE_RECURSE ${WORK})
# DESTDIR: what goes to absolute folders must not end up in the machine that runs the test.
run(${CMAKE_COMMAND} -E env DESTDIR=${WORK}/staging
    ${CMAKE_COMMAND} --install ${BUILD} --prefix /usr)
set(prefix ${WORK}/moved)
file(RENAME ${WORK}/staging/usr ${prefix})

foreach(file ${LIBDIR}/liblastcall_core.a lib/lastcall/plugins)
  if(NOT EXISTS ${prefix}/${file})
    message(FATAL_ERROR "${file} was not installed")
  endif()
endforeach()
run(/usr/bin/python3 ${SOURCE}/tests/includes/public_headers_test.py ${prefix}/include)
file(GLOB package ${prefix}/${LIBDIR}/cmake/lastcall/*)
foreach(file ${package})
  file(READ ${file} text)
  foreach(folder ${SOURCE} ${BUILD})
    string(FIND "${text}" "${folder}/" at)
    if(NOT at EQUAL -1)
      message(FATAL_ERROR "${file} names a folder of the build: ${folder}")
    endif()
  endforeach()
endforeach()

set(flags)
if(SANITIZE)
  set(flags "-fsanitize=${SANITIZE}")
endif()
run(${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/consumer -B ${WORK}/consumer -G ${GENERATOR}
    -D CMAKE_PREFIX_PATH=${prefix} -D CMAKE_CXX_COMPILER=${COMPILER}
    -D CMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER} -D CMAKE_BUILD_TYPE=${BUILD_TYPE}
    -D CMAKE_CXX_FLAGS=${flags} -D EXAMPLE=${SOURCE}/examples/plugin)
run(${CMAKE_COMMAND} --build ${WORK}/consumer)

run(${WORK}/consumer/waits)
expect("${output}" "grace reached")
run(${WORK}/consumer/awaits)
expect("${output}" "asked to stop: exit code 0")
run(${WORK}/consumer/hosts ${WORK}/consumer/plugins/hello.so unix:${WORK}/hello.sock)
expect("${output}" "hello 1.0.0 brings hello.Greeter of hello.proto")
expect("${output}" "hello served and stopped")
run(${WORK}/consumer/hello/hello_test)

# The same plugin by a plain Makefile; the program that hosted the other one hosts it too.
file(COPY ${SOURCE}/examples/plugin/Makefile ${SOURCE}/examples/plugin/hello.cc
          ${SOURCE}/examples/plugin/hello.proto DESTINATION ${WORK}/make)
run(${CMAKE_COMMAND} -E env PKG_CONFIG_PATH=${prefix}/${LIBDIR}/pkgconfig
    make -C ${WORK}/make "CXX=${LAUNCHER} ${COMPILER}" "CXXFLAGS=-O1 ${flags}")
run(${WORK}/consumer/hosts ${WORK}/make/hello.so unix:${WORK}/hello.sock)
expect("${output}" "hello 1.0.0 brings hello.Greeter of hello.proto")
expect("${output}" "hello served and stopped")
