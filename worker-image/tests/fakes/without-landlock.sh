#!/bin/sh
# The executor as on a kernel without Landlock: the test binary that is named beside the private directory installs a filter and becomes it.
# What the test binary says by itself goes to stderr: stdout, kept as descriptor 3, is for the agent alone.
exec 3>&1 1>&2
export ORION_TEST_CHILD=1
exec "$(cat ../test-binary)" --exact becomes_an_executor_without_landlock --nocapture --test-threads 1
