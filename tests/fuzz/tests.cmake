# Fuzz targets: tests/fuzz/fuzz_NAME.c defines LLVMFuzzerTestOneInput, tests/fuzz/corpus/NAME/ holds its inputs.
#
# In every build the inputs are replayed as the test fuzz.NAME, so that what was once found stays found. With
# clang and -DLAMINA_FUZZ=ON each target is also a libFuzzer program with the address and undefined-behaviour
# sanitizers; to look for more:
#
#     cmake -G Ninja -S . -B build/fuzz -DCMAKE_C_COMPILER=clang -DLAMINA_FUZZ=ON
#     ninja -C build/fuzz fuzz_image
#     mkdir -p build/fuzz/found && build/fuzz/bin/fuzz_image -max_total_time=600 build/fuzz/found tests/fuzz/corpus/image

# What the fuzzed readers are made of; compiled anew for them, because the fuzzer has to see inside.
file(GLOB FUZZ_SOURCES CONFIGURE_DEPENDS lib/base/*.c lib/data/*.c)
list(FILTER FUZZ_SOURCES EXCLUDE REGEX "/loader\\.c$")
set(FUZZ_SUPPORT tests/unit/sample_files.c)

if(LAMINA_FUZZ)
  if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "LAMINA_FUZZ needs clang: configure with -DCMAKE_C_COMPILER=clang")
  endif()
  add_library(lamina_fuzzed STATIC EXCLUDE_FROM_ALL ${FUZZ_SOURCES} ${FUZZ_SUPPORT})
  target_link_libraries(lamina_fuzzed PRIVATE lamina_flags
    PUBLIC PkgConfig::PNG PkgConfig::TURBOJPEG PkgConfig::EXIF PkgConfig::MATIO PkgConfig::JANSSON PkgConfig::INIH
           PkgConfig::EXPAT
           Threads::Threads m)
  target_include_directories(lamina_fuzzed PRIVATE tests)
  target_compile_options(lamina_fuzzed PUBLIC -O1 -g -fsanitize=fuzzer-no-link,address,undefined
    -fno-sanitize-recover=undefined)
endif()

# lamina_fuzz(NAME [more sources, with LAMINA_FUZZ])
function(lamina_fuzz name)
  set(target tests/fuzz/fuzz_${name}.c)
  add_executable(replay_${name} ${target} tests/fuzz/replay.c ${FUZZ_SUPPORT})
  target_link_libraries(replay_${name} PRIVATE lamina_flags lamina $<$<TARGET_EXISTS:lamina_tasks>:lamina_tasks>)
  target_include_directories(replay_${name} PRIVATE tests)
  add_test(NAME fuzz.${name} COMMAND replay_${name} tests/fuzz/corpus/${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  if(LAMINA_FUZZ)
    add_executable(fuzz_${name} EXCLUDE_FROM_ALL ${target} ${ARGN})
    target_link_libraries(fuzz_${name} PRIVATE lamina_flags lamina_fuzzed)
    target_include_directories(fuzz_${name} PRIVATE tests)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer,address,undefined)
  endif()
endfunction()

lamina_fuzz(image)
lamina_fuzz(idx)
lamina_fuzz(cifar)
lamina_fuzz(folder)
lamina_fuzz(voc)
lamina_fuzz(coco)
lamina_fuzz(checkpoint lib/train/checkpoint_read.c lib/train/checkpoint_write.c)
lamina_fuzz(recipe)
