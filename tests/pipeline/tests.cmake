if(TARGET lamina-bench)
  add_test(NAME pipeline.bench_simulate
    COMMAND ${CMAKE_SOURCE_DIR}/tests/pipeline/bench_simulate.sh $<TARGET_FILE:lamina-bench>)
  add_test(NAME pipeline.bench_paper
    COMMAND ${CMAKE_SOURCE_DIR}/tests/pipeline/bench_paper.sh $<TARGET_FILE:lamina-bench>)
  # A transformer in bf16 is profiled, cut and run without a value that is not finite.
  add_test(NAME pipeline.bench_bf16 COMMAND lamina-bench pipeline --model vit-tiny --precision bf16 --batch 16 --steps 1 --rounds 1
    --schedules sequential,ppll)
endif()
