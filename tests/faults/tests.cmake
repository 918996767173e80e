# Runs that are disturbed: SCRIPT.sh CASE, each in a folder of its own.
function(lamina_faults script prefix)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/faults/${script})
  file(STRINGS tests/faults/${script} cases REGEX "^case_[a-z_]+\\(\\)")
  foreach(case ${cases})
    string(REGEX REPLACE "^case_([a-z_]+).*" "\\1" case ${case})
    add_test(NAME faults.${prefix}${case} COMMAND ${CMAKE_SOURCE_DIR}/tests/faults/${script} ${case}
      ${CMAKE_RUNTIME_OUTPUT_DIRECTORY})
    set_tests_properties(faults.${prefix}${case} PROPERTIES TIMEOUT 300 SKIP_RETURN_CODE 77 LABELS faults)
  endforeach()
endfunction()

if(TARGET classify-train AND TARGET lamina-cli)
  lamina_faults(faults.sh "")
  lamina_faults(sr.sh sr_)
  lamina_faults(detect.sh detect_)
  # The reference of options is what the tables say: lamina options >docs/OPTIONS.md
  add_test(NAME docs.options
    COMMAND sh -c "$<TARGET_FILE:lamina-cli> options | diff - ${CMAKE_SOURCE_DIR}/docs/OPTIONS.md")
endif()
