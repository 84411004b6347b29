# Tests on real Rubies: programs in Ruby that attach to programs in Ruby. They need root, or the
# right to trace, and say so by skipping. Which Rubies: see ruby/helper.rb.

find_program(RUBY_PROGRAM ruby)

add_executable(storm ${CMAKE_CURRENT_LIST_DIR}/victim/storm.c)
target_link_libraries(storm PRIVATE options)
add_executable(filtered ${CMAKE_CURRENT_LIST_DIR}/victim/filtered.c)
target_link_libraries(filtered PRIVATE options)
add_executable(killat ${CMAKE_CURRENT_LIST_DIR}/fault/killat.c)
target_link_libraries(killat PRIVATE options)

function(system_test label script timeout)
  get_filename_component(name ${script} NAME_WE)
  add_test(NAME ${label}.${name} COMMAND ${RUBY_PROGRAM} ${CMAKE_CURRENT_LIST_DIR}/${script} ${ARGN})
  set_tests_properties(${label}.${name} PROPERTIES
    LABELS ${label} TIMEOUT ${timeout} SKIP_RETURN_CODE 77 RUN_SERIAL TRUE
    ENVIRONMENT "MEMPROF=$<TARGET_FILE:memprof>;MEMPROF_TEST_TOOLS=$<TARGET_FILE_DIR:killat>")
endfunction()

if(RUBY_PROGRAM)
  system_test(system ruby/exact.rb 900)
  system_test(system ruby/lines.rb 180)
  system_test(system ruby/rows.rb 180)
  system_test(system ruby/classes.rb 180)
  system_test(system ruby/example.rb 180)
  system_test(system ruby/cli.rb 600)
  system_test(system ruby/sandbox.rb 180)
  system_test(fault ruby/clean.rb 2400)
  system_test(fault fault/kill.rb 2400)
  system_test(bench bench/overhead.rb 1800)
  system_test(bench bench/reader.rb 1800)
  system_test(bench bench/pause.rb 600)
else()
  message(STATUS "no ruby: tests on real Rubies are left out")
endif()
