#include "nn/config/json.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace fm {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(double x) { return std::isfinite(x) ? Json(x) : Json(x > 0 ? "inf" : "-inf"); }
template <class T>
Json to_json(const T& value) {
  return Json(value);
}
Json to_json(const std::vector<double>& values) {
  Json list = Json::array();
  for (double x : values) list.push_back(to_json(x));
  return list;
}

}  // namespace

Json fields_to_json(const std::vector<Field>& fields) {
  Json root = Json::object();
  for (const Field& field : fields) {
    Json* object = &root;
    std::string_view path = field.path;
    for (size_t dot = path.find('.'); dot != std::string_view::npos; dot = path.find('.')) {
      object = &(*object)[std::string(path.substr(0, dot))];
      path.remove_prefix(dot + 1);
    }
    (*object)[std::string(path)] = std::visit([](auto* v) { return to_json(*v); }, field.value);
  }
  return root;
}

}  // namespace fm
