# What is installed and where, and the package that find_package(lastcall) finds. Included last,
# when every target is known.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/lastcall)

# lastcall_linked_from(RESULT TARGET …): the project's other static libraries that the targets are
# linked from, proto libraries above all: who links the targets must link them too.
function(lastcall_linked_from result)
  set(found)
  set(queue ${ARGN})
  while(queue)
    list(POP_FRONT queue target)
    get_target_property(linked ${target} LINK_LIBRARIES)
    if(NOT linked)  # headers alone
      continue()
    endif()
    foreach(library ${linked})
      if(NOT TARGET ${library})
        continue()
      endif()
      get_target_property(imported ${library} IMPORTED)
      get_target_property(aliased ${library} ALIASED_TARGET)
      if(aliased)
        set(library ${aliased})
      endif()
      if(NOT imported AND NOT library IN_LIST found AND NOT library IN_LIST ARGN)
        list(APPEND found ${library})
        list(APPEND queue ${library})
      endif()
    endforeach()
  endwhile()
  set(${result} ${found} PARENT_SCOPE)
endfunction()

get_property(libraries GLOBAL PROPERTY LASTCALL_LIBRARIES)
lastcall_linked_from(linked ${libraries})
target_include_directories(lastcall_plugin_headers
                           INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
install(TARGETS ${libraries} EXPORT lastcall
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS lastcall_plugin_headers ${linked} EXPORT lastcall
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})

install(EXPORT lastcall NAMESPACE lastcall:: FILE lastcallTargets.cmake DESTINATION ${package_dir})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/lastcallConfig.cmake.in
                              ${PROJECT_BINARY_DIR}/lastcallConfig.cmake
                              INSTALL_DESTINATION ${package_dir})
# Before 1.0 a minor version may change what a program sees.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/lastcallConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/lastcallConfig.cmake
              ${PROJECT_BINARY_DIR}/lastcallConfigVersion.cmake
              ${PROJECT_SOURCE_DIR}/cmake/LastcallPlugin.cmake
        DESTINATION ${package_dir})

# For plugins that are built without CMake.
file(RELATIVE_PATH prefix_from_pc /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(${PROJECT_SOURCE_DIR}/cmake/lastcall-plugin.pc.in
               ${PROJECT_BINARY_DIR}/lastcall-plugin.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/lastcall-plugin.pc
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES ${PROJECT_SOURCE_DIR}/cmake/plugin_manifest.cc
        DESTINATION ${CMAKE_INSTALL_DATADIR}/lastcall)

# People run lastcalld too (--plugin, --check); lastcall-host is run by lastcalld alone.
foreach(program lastcalld lastcallctl)
  if(TARGET ${program})
    install(TARGETS ${program} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  endif()
endforeach()
if(TARGET lastcall-host)
  install(TARGETS lastcall-host RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/lastcall)
endif()

install(DIRECTORY DESTINATION lib/lastcall/plugins)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/proto/lastcall
        DESTINATION ${CMAKE_INSTALL_DATADIR}/lastcall/proto FILES_MATCHING PATTERN "*.proto")
install(DIRECTORY ${PROJECT_SOURCE_DIR}/etc/ DESTINATION ${CMAKE_INSTALL_SYSCONFDIR}/lastcall
        FILES_MATCHING PATTERN "*.toml")
# systemd reads these directories below /usr/lib and /usr/local/lib, whatever the multiarch LIBDIR is.
install(DIRECTORY ${PROJECT_SOURCE_DIR}/systemd/ DESTINATION lib/systemd/system
        FILES_MATCHING PATTERN "*.service" PATTERN "*.socket")
foreach(kind sysusers tmpfiles)
  if(EXISTS ${PROJECT_SOURCE_DIR}/systemd/lastcall.${kind}.conf)
    install(FILES ${PROJECT_SOURCE_DIR}/systemd/lastcall.${kind}.conf RENAME lastcall.conf
            DESTINATION lib/${kind}.d)
  endif()
endforeach()
