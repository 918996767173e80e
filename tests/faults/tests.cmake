# Runs that are disturbed: faults.sh CASE, each in a folder of its own.
if(TARGET classify-train AND TARGET lamina-cli)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/faults/faults.sh)
  file(STRINGS tests/faults/faults.sh FAULTS_CASES REGEX "^case_[a-z_]+\\(\\)")
  foreach(case ${FAULTS_CASES})
    string(REGEX REPLACE "^case_([a-z_]+).*" "\\1" case ${case})
    add_test(NAME faults.${case} COMMAND ${CMAKE_SOURCE_DIR}/tests/faults/faults.sh ${case}
      ${CMAKE_RUNTIME_OUTPUT_DIRECTORY})
    set_tests_properties(faults.${case} PROPERTIES TIMEOUT 300 SKIP_RETURN_CODE 77 LABELS faults)
  endforeach()
  # The reference of options is what the tables say: lamina options >docs/OPTIONS.md
  add_test(NAME docs.options
    COMMAND sh -c "$<TARGET_FILE:lamina-cli> options | diff - ${CMAKE_SOURCE_DIR}/docs/OPTIONS.md")
endif()
