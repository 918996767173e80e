# Short trainings: classify.sh CASE and local.sh CASE. Those on real data are skipped where LAMINA_DATA has none.
if(TARGET classify-train)
  foreach(case classify:shapes classify:cifar10 local:auxiliary local:twins local:isolation)
    string(REPLACE ":" ";" case ${case})
    list(GET case 0 script)
    list(GET case 1 name)
    add_test(NAME accuracy.${name} COMMAND ${CMAKE_SOURCE_DIR}/tests/accuracy/${script}.sh ${name}
      ${CMAKE_RUNTIME_OUTPUT_DIRECTORY})
    set_tests_properties(accuracy.${name} PROPERTIES TIMEOUT 600 LABELS accuracy SKIP_RETURN_CODE 77)
  endforeach()
endif()
