// The page's frame, style and elements.
#include "data/report/html.h"

#include <fmt/format.h>

#include <cctype>
#include <cstdint>

namespace fm {
namespace {

constexpr std::string_view style = R"(
:root { color-scheme: light dark; --ink: #1c2024; --soft: #667; --line: #d5d9df; --ground: #fff; --band: #f4f6f8; --accent: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7eb; --soft: #9aa3ad; --line: #3a4048; --ground: #15181c; --band: #1d2126; --accent: #56b4e9; } }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--ground); max-width: 62rem; margin: 2.5rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.9rem; margin: 0; } h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid var(--line); padding-bottom: .25rem; }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .3rem; }
.subtitle, figcaption, caption { color: var(--soft); } p { max-width: 46rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; } caption { text-align: left; padding-bottom: .3rem; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid var(--line); text-align: left; } th { background: var(--band); } td.number { text-align: right; }
@media (max-width: 30rem) { th, td { padding: .3rem .4rem; } }
figure { margin: 1rem 0; } img { max-width: 100%; border: 1px solid var(--line); } img.hard { image-rendering: pixelated; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 1rem; }
.planes { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); gap: 1rem; } .planes figure { max-width: 34rem; }
svg.plot { width: 100%; height: auto; } svg.plot text { font: 12px system-ui, sans-serif; fill: var(--ink); } svg.plot .title { font-size: 14px; font-weight: 600; }
svg.plot .grid { stroke: var(--line); } svg.plot .frame { fill: none; stroke: var(--soft); } svg.plot .legend { fill: var(--ground); fill-opacity: .85; stroke: var(--line); }
svg.plot .ink { stroke: var(--ink); } svg.plot .note { fill: var(--soft); } svg.plot circle:hover { fill-opacity: 1; }
table.sortable td { white-space: nowrap; } table.sortable td:first-child { position: sticky; left: 0; background: var(--ground); }
th button { all: unset; cursor: pointer; } th button:hover { color: var(--accent); } th button:focus-visible { outline: 2px solid var(--accent); }
pre { background: var(--band); padding: .8rem 1rem; overflow-x: auto; font-size: 13px; } summary { cursor: pointer; color: var(--accent); }
)";

// Written without the signs that HTML reads as markup.
constexpr std::string_view sorting = R"(
document.querySelectorAll("table.sortable th button").forEach(button => {
  button.onclick = () => {
    const th = button.parentElement, table = th.closest("table"), down = th.getAttribute("aria-sort") !== "ascending";
    table.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
    th.setAttribute("aria-sort", down ? "ascending" : "descending");
    const key = row => row.cells[th.cellIndex].dataset.key;
    const order = (a, b) => {
      const x = key(a), y = key(b);
      if (x === "" || y === "") return (x === "") - (y === "");
      const d = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
      return down ? d : -d;
    };
    [...table.tBodies[0].rows].sort(order).forEach(row => table.tBodies[0].append(row));
  };
});
)";

// Numbers align at the right, and a dash that stands for one.
bool is_number(const std::string& cell) {
  const auto digit = [&](size_t i) { return i < cell.size() && std::isdigit(uint8_t(cell[i])) != 0; };
  return cell == "-" || digit(0) || ((cell.starts_with('-') || cell.starts_with('+')) && digit(1));
}

// Width and height stand at fixed places of a PNG's first chunk; 0 x 0 when the bytes are no PNG.
std::pair<uint32_t, uint32_t> png_size(std::string_view png) {
  if (png.size() < 24 || png.substr(1, 3) != "PNG") return {0, 0};
  const auto big_endian = [&](size_t at) {
    uint32_t value = 0;
    for (size_t i = 0; i < 4; ++i) value = value << 8 | uint8_t(png[at + i]);
    return value;
  };
  return {big_endian(16), big_endian(20)};
}

}  // namespace

std::string escape_html(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string base64(std::string_view bytes) {  // RFC 4648
  constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const auto byte = [&](size_t k) { return i + k < bytes.size() ? uint32_t(uint8_t(bytes[i + k])) : 0u; };
    const uint32_t word = byte(0) << 16 | byte(1) << 8 | byte(2);
    for (int k = 0; k < 4; ++k) out += i + size_t(k) <= bytes.size() ? digits[(word >> (18 - 6 * k)) & 63] : '=';
  }
  return out;
}

HtmlReport::HtmlReport(std::string_view title, std::string_view subtitle) : title_(title) {
  if (!title.empty()) body_ = fmt::format("<h1>{}</h1>\n", escape_html(title));
  if (!subtitle.empty()) body_ += fmt::format("<p class=\"subtitle\">{}</p>\n", escape_html(subtitle));
}

void HtmlReport::heading(std::string_view text) { body_ += fmt::format("<h2>{}</h2>\n", escape_html(text)); }

void HtmlReport::subheading(std::string_view text) { body_ += fmt::format("<h3>{}</h3>\n", escape_html(text)); }

void HtmlReport::paragraph(std::string_view text) { body_ += fmt::format("<p>{}</p>\n", escape_html(text)); }

void HtmlReport::preformatted(std::string_view text, std::string_view summary) {
  const std::string block = fmt::format("<pre>{}</pre>\n", escape_html(text));
  body_ += summary.empty() ? block : fmt::format("<details><summary>{}</summary>\n{}</details>\n", escape_html(summary), block);
}

void HtmlReport::table(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows, std::string_view caption) {
  body_ += "<div class=\"wide\"><table>";
  if (!caption.empty()) body_ += fmt::format("<caption>{}</caption>", escape_html(caption));
  if (!head.empty()) {
    body_ += "<tr>";
    for (const std::string& cell : head) body_ += fmt::format("<th>{}</th>", escape_html(cell));
    body_ += "</tr>\n";
  }
  for (const auto& row : rows) {
    body_ += "<tr>";
    for (const std::string& cell : row)
      body_ += fmt::format("<td{}>{}</td>", is_number(cell) ? " class=\"number\"" : "", escape_html(cell));
    body_ += "</tr>\n";
  }
  body_ += "</table></div>\n";
}

void HtmlReport::sortable_table(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows,
                                const std::vector<std::vector<std::string>>& keys, std::string_view caption) {
  sorts_ = true;
  body_ += "<div class=\"wide\"><table class=\"sortable\">";
  if (!caption.empty()) body_ += fmt::format("<caption>{}</caption>", escape_html(caption));
  body_ += "<thead><tr>";
  for (const std::string& cell : head) body_ += fmt::format("<th><button type=\"button\">{}</button></th>", escape_html(cell));
  body_ += "</tr></thead>\n<tbody>";
  for (std::size_t r = 0; r < rows.size(); ++r) {
    body_ += "<tr>";
    for (std::size_t c = 0; c < rows[r].size(); ++c)
      body_ += fmt::format("<td{} data-key=\"{}\">{}</td>", is_number(rows[r][c]) ? " class=\"number\"" : "", escape_html(keys.at(r).at(c)), escape_html(rows[r][c]));
    body_ += "</tr>\n";
  }
  body_ += "</tbody></table></div>\n";
}

void HtmlReport::png(std::string_view bytes, std::string_view caption, int scale) {
  const auto [width, height] = png_size(bytes);
  const std::string size = width > 0 ? fmt::format(" width=\"{}\"", width * uint32_t(scale)) : "";
  body_ += fmt::format("<figure><img{}{} alt=\"{}\" src=\"data:image/png;base64,{}\">", size, scale > 1 ? " class=\"hard\"" : "",
                       escape_html(caption), base64(bytes));
  if (!caption.empty()) body_ += fmt::format("<figcaption>{}</figcaption>", escape_html(caption));
  body_ += "</figure>\n";
}

void HtmlReport::plot(const Plot& plot) { body_ += fmt::format("<figure>{}</figure>\n", svg_plot(plot)); }

void HtmlReport::plots(const std::vector<Plot>& plots) {
  body_ += "<div class=\"plots\">\n";
  for (const Plot& one : plots) plot(one);
  body_ += "</div>\n";
}

void HtmlReport::dots(const std::vector<DotPlot>& plots) {
  body_ += "<div class=\"plots\">\n";
  for (const DotPlot& one : plots) body_ += fmt::format("<figure>{}</figure>\n", svg_dots(one));
  body_ += "</div>\n";
}

void HtmlReport::pictures(const std::vector<std::string>& svgs) {
  body_ += "<div class=\"planes\">\n";
  for (const std::string& svg : svgs) body_ += fmt::format("<figure>{}</figure>\n", svg);
  body_ += "</div>\n";
}

void HtmlReport::figures(const std::vector<Figure>& figures) {
  body_ += "<div class=\"planes\">\n";
  for (const Figure& f : figures) body_ += fmt::format("<figure>{}<figcaption>{}</figcaption></figure>\n", f.svg, escape_html(f.caption));
  body_ += "</div>\n";
}

void HtmlReport::embed(std::string_view section) { body_ += section; }

std::string HtmlReport::html() const {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n"
      "<title>{}</title>\n<style>{}</style>\n</head>\n<body>\n{}{}</body>\n</html>\n",
      escape_html(title_), style, body_, sorts_ ? fmt::format("<script>{}</script>\n", sorting) : "");
}

}  // namespace fm
