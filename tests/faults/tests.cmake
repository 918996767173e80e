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
  if(TARGET sr-train)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/faults/sr.sh)
    file(STRINGS tests/faults/sr.sh FAULTS_CASES REGEX "^case_[a-z_]+\\(\\)")
    foreach(case ${FAULTS_CASES})
      string(REGEX REPLACE "^case_([a-z_]+).*" "\\1" case ${case})
      add_test(NAME faults.sr_${case} COMMAND ${CMAKE_SOURCE_DIR}/tests/faults/sr.sh ${case}
        ${CMAKE_RUNTIME_OUTPUT_DIRECTORY})
      set_tests_properties(faults.sr_${case} PROPERTIES TIMEOUT 300 SKIP_RETURN_CODE 77 LABELS faults)
    endforeach()
  endif()
  if(TARGET detect-train)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/faults/detect.sh)
    file(STRINGS tests/faults/detect.sh FAULTS_CASES REGEX "^case_[a-z_]+\\(\\)")
    foreach(case ${FAULTS_CASES})
      string(REGEX REPLACE "^case_([a-z_]+).*" "\\1" case ${case})
      add_test(NAME faults.detect_${case} COMMAND ${CMAKE_SOURCE_DIR}/tests/faults/detect.sh ${case}
        ${CMAKE_RUNTIME_OUTPUT_DIRECTORY})
      set_tests_properties(faults.detect_${case} PROPERTIES TIMEOUT 300 SKIP_RETURN_CODE 77 LABELS faults)
    endforeach()
  endif()
  # The reference of options is what the tables say: lamina options >docs/OPTIONS.md
  add_test(NAME docs.options
    COMMAND sh -c "$<TARGET_FILE:lamina-cli> options | diff - ${CMAKE_SOURCE_DIR}/docs/OPTIONS.md")
endif()
