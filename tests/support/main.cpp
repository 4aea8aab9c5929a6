#define DOCTEST_CONFIG_IMPLEMENT
#include "tests/support/run_all.h"

int main(int argc, char** argv) { return fm::test::run_all(argc, argv); }
