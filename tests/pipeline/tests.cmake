if(TARGET lamina-bench)
  add_test(NAME pipeline.bench_simulate
    COMMAND ${CMAKE_SOURCE_DIR}/tests/pipeline/bench_simulate.sh $<TARGET_FILE:lamina-bench>)
endif()
