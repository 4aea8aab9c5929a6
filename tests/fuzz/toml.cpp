// A recipe. If it can be read, writing and reading it again must give the same text.
#include "apps/cli/toml.h"
#include "flowmap/training/chain/recipe.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return fm::fuzz::accept_errors([&] {
    fm::Recipe recipe, again;
    fm::load_toml_text(fm::list_fields(recipe), {reinterpret_cast<const char*>(data), size}, "x.toml");
    const std::string text = fm::to_toml(fm::list_fields(recipe));
    fm::load_toml_text(fm::list_fields(again), text, "again.toml");
    if (fm::to_toml(fm::list_fields(again)) != text) std::abort();
  });
}
