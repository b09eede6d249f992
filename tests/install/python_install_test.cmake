# Installs a copy of the Python package with pip, without the project's own build, and runs a program
# with what was installed.

include(${CMAKE_CURRENT_LIST_DIR}/run.cmake)

file(REMOVE_RECURSE ${WORK})
# A copy, for setuptools builds beside its sources.
file(COPY ${SOURCE}/lib ${SOURCE}/python ${SOURCE}/CMakeLists.txt DESTINATION ${WORK}/source)
file(REMOVE_RECURSE ${WORK}/source/python/build)
run(${CMAKE_COMMAND} -E env "CC=${LAUNCHER} cc" "CXX=${LAUNCHER} c++"
    ${PYTHON} -m pip install --no-build-isolation --no-deps --no-index --quiet
    --root-user-action=ignore --target ${WORK}/site ${WORK}/source/python)

foreach(file __init__.py _native.pyi py.typed)
  if(NOT EXISTS ${WORK}/site/lastcall/${file})
    message(FATAL_ERROR "${file} was not installed")
  endif()
endforeach()
file(WRITE ${WORK}/program.py [[
import os, signal, sys
import lastcall
with lastcall.Lifecycle() as life:
    os.kill(os.getpid(), signal.SIGTERM)
    life.wait_for_termination()
print(lastcall.__version__, lastcall.__file__, life.receipt["outcome"])
sys.exit(life.exit_code)
]])
run(${CMAKE_COMMAND} -E env PYTHONPATH=${WORK}/site ${PYTHON} ${WORK}/program.py)
expect("${output}" "^${VERSION} ${WORK}/site/lastcall/__init__.py stopped in ")
