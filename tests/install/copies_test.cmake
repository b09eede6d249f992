# The build tree holds copies of sources, never links into them; and lastcall_copies() keeps up with
# what is changed, renamed and removed.
#   cmake -D BUILD=… -D SOURCE=… -D WORK=… -D GENERATOR=… -P copies_test.cmake
cmake_minimum_required(VERSION 3.25)
include(${CMAKE_CURRENT_LIST_DIR}/run.cmake)

file(REAL_PATH ${SOURCE} source)
run(find ${BUILD} -type l -exec readlink -f {} +)
string(REPLACE "\n" ";" targets "${output}")
foreach(target IN LISTS targets)
  cmake_path(IS_PREFIX source "${target}" is_ours)
  cmake_path(IS_PREFIX BUILD "${target}" is_built)
  if(is_ours AND NOT is_built)
    message(FATAL_ERROR "a link of the build tree leads into the sources: ${target}")
  endif()
endforeach()

set(copies ${WORK}/build/package)

# project(FILES…): a project of these; once it is there, what configures it again is building it.
function(project)
  list(TRANSFORM ARGN PREPEND "code/" OUTPUT_VARIABLE files)
  list(JOIN files " " files)
  file(WRITE ${WORK}/source/CMakeLists.txt "
    cmake_minimum_required(VERSION 3.25)
    project(copies LANGUAGES NONE)
    include(${SOURCE}/cmake/LastcallCopies.cmake)
    lastcall_copies(package DIRECTORY \${PROJECT_BINARY_DIR}/package KEEP [.]so$ SOURCES ${files})
  ")
endfunction()

function(build)
  run(${CMAKE_COMMAND} --build ${WORK}/build)
endfunction()

# has(FILES…): these are in the package and no others.
function(has)
  file(GLOB present RELATIVE ${copies} ${copies}/*)
  list(SORT present)
  expect("${present}" "^${ARGN}$")
endfunction()

file(REMOVE_RECURSE ${WORK})
file(WRITE ${WORK}/source/code/a.py "a 1")
file(WRITE ${WORK}/source/code/b.py "b 1")
# As trees of earlier builds are.
file(MAKE_DIRECTORY ${copies})
file(CREATE_LINK ${WORK}/source/code/a.py ${copies}/a.py SYMBOLIC)
file(WRITE ${copies}/native.so "")

project(a.py b.py)
run(${CMAKE_COMMAND} -S ${WORK}/source -B ${WORK}/build -G ${GENERATOR})
build()
has("a.py;b.py;native.so")
if(IS_SYMLINK ${copies}/a.py)
  message(FATAL_ERROR "the link of the earlier build is still there")
endif()

# What is written to a copy stays there.
file(WRITE ${copies}/b.py "edited in the build tree")
file(READ ${WORK}/source/code/b.py text)
expect("${text}" "^b 1$")

file(WRITE ${WORK}/source/code/a.py "a 2")
build()
file(READ ${copies}/a.py text)
expect("${text}" "^a 2$")

file(RENAME ${WORK}/source/code/b.py ${WORK}/source/code/c.py)
project(a.py c.py)
build()
has("a.py;c.py;native.so")
