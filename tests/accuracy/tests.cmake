# Short trainings with a floor of accuracy: classify.sh CASE. Those on real data are skipped where LAMINA_DATA has none.
if(TARGET classify-train)
  foreach(case shapes cifar10)
    add_test(NAME accuracy.${case} COMMAND ${CMAKE_SOURCE_DIR}/tests/accuracy/classify.sh ${case}
      ${CMAKE_RUNTIME_OUTPUT_DIRECTORY})
    set_tests_properties(accuracy.${case} PROPERTIES TIMEOUT 600 LABELS accuracy SKIP_RETURN_CODE 77)
  endforeach()
endif()
