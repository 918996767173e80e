# Runs that are disturbed: faults.sh CASE, each in a folder of its own.
if(TARGET classify-train AND TARGET lamina-cli)
  foreach(case resume_signal resume_evaluation resume_kill more_epochs rerun tuned threads full_disk damaged nan bad_input bad_commands commands
      summary best_first stop_measuring changed_data not_utf8)
    add_test(NAME faults.${case} COMMAND ${CMAKE_SOURCE_DIR}/tests/faults/faults.sh ${case}
      ${CMAKE_RUNTIME_OUTPUT_DIRECTORY})
    set_tests_properties(faults.${case} PROPERTIES TIMEOUT 300 LABELS faults)
  endforeach()
  # The reference of options is what the tables say: lamina options >docs/OPTIONS.md
  add_test(NAME docs.options
    COMMAND sh -c "$<TARGET_FILE:lamina-cli> options | diff - ${CMAKE_SOURCE_DIR}/docs/OPTIONS.md")
endif()
