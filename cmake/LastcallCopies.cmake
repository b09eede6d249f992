# lastcall_copies(TARGET DIRECTORY … KEEP regex SOURCES …): a target that fills a directory of the
# build tree with copies of sources, each renewed whenever its source has changed. Not links, for
# whatever copies, cleans or edits a build tree would follow them into the sources.
function(lastcall_copies target)
  cmake_parse_arguments(ARG "" "DIRECTORY;KEEP" "SOURCES" ${ARGN})
  file(MAKE_DIRECTORY ${ARG_DIRECTORY})

  # What was listed before and is no longer would still be imported. KEEP is what others make there.
  set(names ${ARG_SOURCES})
  list(TRANSFORM names REPLACE ".*/" "")
  file(GLOB present LIST_DIRECTORIES false RELATIVE ${ARG_DIRECTORY} ${ARG_DIRECTORY}/*)
  foreach(name IN LISTS present)
    if(name MATCHES "${ARG_KEEP}")
      continue()
    endif()
    # A link, from an earlier build tree, would be written through.
    if(NOT name IN_LIST names OR IS_SYMLINK ${ARG_DIRECTORY}/${name})
      file(REMOVE ${ARG_DIRECTORY}/${name})
    endif()
  endforeach()

  set(copies)
  foreach(source IN LISTS ARG_SOURCES)
    cmake_path(ABSOLUTE_PATH source)
    cmake_path(GET source FILENAME name)
    set(copy ${ARG_DIRECTORY}/${name})
    add_custom_command(
      OUTPUT ${copy}
      COMMAND ${CMAKE_COMMAND} -E copy ${source} ${copy}
      DEPENDS ${source}
      COMMENT "Copying ${name}" VERBATIM)
    list(APPEND copies ${copy})
  endforeach()
  add_custom_target(${target} ALL DEPENDS ${copies})
endfunction()
