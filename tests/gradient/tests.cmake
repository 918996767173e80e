# The gradient tests use the reference ops of the conformance tests.
file(GLOB REFERENCE_SOURCES CONFIGURE_DEPENDS tests/conformance/reference*.c)
set(REFERENCE_SOURCES ${REFERENCE_SOURCES} ${CMAKE_SOURCE_DIR}/tests/conformance/op_text.c
                      ${CMAKE_SOURCE_DIR}/tests/conformance/operands.c)
target_sources(test_gradient_reference_gradient PRIVATE ${REFERENCE_SOURCES})
