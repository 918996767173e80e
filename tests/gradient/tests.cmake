# The gradient tests use the reference ops of the conformance tests.
file(GLOB REFERENCE_SOURCES CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/conformance/reference*.c)
list(APPEND REFERENCE_SOURCES ${CMAKE_SOURCE_DIR}/tests/conformance/op_text.c
                              ${CMAKE_SOURCE_DIR}/tests/conformance/operands.c)
file(GLOB GRADIENT_TESTS CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/gradient/*_test.c)
foreach(file ${GRADIENT_TESTS})
  get_filename_component(name ${file} NAME_WE)
  string(REGEX REPLACE "_test$" "" name ${name})
  target_sources(test_gradient_${name} PRIVATE ${REFERENCE_SOURCES})
endforeach()
# A detector's losses over ten steps, with direct convolutions: the rounding of Winograd's, within bounds in each gradient above, grows
# a thousandfold in so many steps.
add_test(NAME gradient.parity_retinanet_steps COMMAND test_gradient_parity_retinanet --steps WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(gradient.parity_retinanet_steps PROPERTIES ENVIRONMENT LAMINA_CONV=direct)
