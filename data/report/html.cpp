// The page's frame, style and elements.
#include "data/report/html.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdint>

namespace fm {
namespace {

constexpr std::string_view style = R"(
:root { color-scheme: light dark; --ink: #1c2024; --soft: #667; --line: #d5d9df; --ground: #fff; --band: #f4f6f8; --accent: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7eb; --soft: #9aa3ad; --line: #3a4048; --ground: #15181c; --band: #1d2126; --accent: #56b4e9; } }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--ground); max-width: 62rem; margin: 2.5rem auto; padding: 0 1.25rem; overflow-wrap: anywhere; }
h1 { font-size: 1.9rem; margin: 0; } h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid var(--line); padding-bottom: .25rem; }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .3rem; } a { color: var(--accent); }
.subtitle, figcaption, caption { color: var(--soft); } p { max-width: 46rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
caption { text-align: left; padding-bottom: .3rem; position: sticky; left: 0; max-width: calc(100vw - 2.5rem); }
th, td { padding: .3rem .8rem; border-bottom: 1px solid var(--line); text-align: left; } th { background: var(--band); }
th.number, td.number { text-align: right; } td.number { white-space: nowrap; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; border: 1px solid var(--line); } img.hard { image-rendering: pixelated; }
.strip { display: flex; gap: 1rem; overflow-x: auto; } .strip figure { flex: none; } .strip img { max-width: 20rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 1rem; } .plots figure { max-width: 40rem; }
.planes { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); gap: 1rem; } .planes figure { max-width: 34rem; }
svg.plot { width: 100%; height: auto; } svg.plot text { font: 12px system-ui, sans-serif; fill: var(--ink); } svg.plot .title { font-size: 14px; font-weight: 600; }
svg.plot .grid { stroke: var(--line); } svg.plot .frame { fill: none; stroke: var(--soft); } svg.plot .legend { fill: var(--ground); fill-opacity: .85; stroke: var(--line); }
svg.plot .ink { stroke: var(--ink); } svg.plot .note { fill: var(--soft); } svg.plot circle:hover { fill-opacity: 1; } svg.plot .cross { stroke: var(--soft); }
.tip { position: fixed; pointer-events: none; font-size: 13px; background: var(--ground); border: 1px solid var(--line); border-radius: 4px; padding: .2rem .5rem; max-width: 90vw; }
.tip span { display: inline-block; width: .6rem; height: .6rem; margin-right: .4rem; }
@media (prefers-color-scheme: dark) {
  svg.plot [stroke="#0072b2"] { stroke: #4ba3e3; } svg.plot [fill="#0072b2"] { fill: #4ba3e3; }
  svg.plot [stroke="#d55e00"] { stroke: #f0824a; } svg.plot [fill="#d55e00"] { fill: #f0824a; }
  svg.plot [stroke="#7f5fc0"] { stroke: #ab90e6; } svg.plot [fill="#7f5fc0"] { fill: #ab90e6; }
}
table.sortable td { white-space: nowrap; } .wide td:first-child { position: sticky; left: 0; background: var(--ground); }
@media (max-width: 30rem) { body { margin: 1.2rem auto; padding: 0 .8rem; } th, td { padding: .3rem .4rem; } svg.plot text { font-size: 14px; } svg.plot .title { font-size: 16px; } }
th button { all: unset; cursor: pointer; } th button:hover { color: var(--accent); } th button:focus-visible { outline: 2px solid var(--accent); }
pre { background: var(--band); padding: .8rem 1rem; overflow-x: auto; font-size: 13px; overflow-wrap: normal; } summary { cursor: pointer; color: var(--accent); }
)";

// This script contains no characters that HTML reads as markup.
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

// Shows one tooltip for all curves, with the point of each curve that is nearest to the pointer. A vertical line marks the nearest of these points.
constexpr std::string_view hovering = R"(
const tip = document.createElement("div");
tip.className = "tip", tip.hidden = true;
document.body.append(tip);
document.querySelectorAll("svg.plot").forEach(svg => {
  const points = [...svg.querySelectorAll("circle")].filter(c => c.querySelector("title")), frame = svg.querySelector(".frame");
  if (!points.length || !frame || !svg.querySelector("path")) return;
  points.forEach(c => { c.dataset.says = c.textContent, c.querySelector("title").remove(); });
  const cross = document.createElementNS(svg.namespaceURI, "line"), place = c => c.cx.baseVal.value;
  cross.setAttribute("class", "cross");
  const hide = () => { tip.hidden = true, cross.remove(); };
  svg.onpointerleave = hide;
  svg.onpointermove = svg.onpointerdown = event => {
    const x = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse()).x, nearest = new Map();
    const off = c => Math.abs(place(c) - x);
    points.forEach(c => {
      const curve = c.getAttribute("fill"), other = nearest.get(curve);
      if (!other || Math.sign(off(other) - off(c)) === 1) nearest.set(curve, c);
    });
    const shown = [...nearest.values()].sort((a, b) => off(a) - off(b)), at = place(shown[0]), top = frame.y.baseVal.value;
    cross.setAttribute("x1", at), cross.setAttribute("x2", at), cross.setAttribute("y1", top), cross.setAttribute("y2", top + frame.height.baseVal.value);
    frame.after(cross);
    tip.replaceChildren(...shown.filter(c => Math.sign(Math.abs(place(c) - at) - 12) !== 1).map(c => {
      const line = document.createElement("div"), mark = document.createElement("span");
      mark.style.background = getComputedStyle(c).fill;
      line.append(mark, c.dataset.says);
      return line;
    }));
    tip.hidden = false;
    tip.style.left = Math.max(0, Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)) + "px";
    tip.style.top = Math.max(0, Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8)) + "px";
  };
});
)";

using Cells = std::vector<std::vector<std::string>>;

// "-1.5", "23.1 dB", "70.3 ± 0.4", "1:02:03" and "94 %", but neither "2026-01-31" nor a checksum like "5e3a". A lone dash counts as a number.
bool is_number(const std::string& cell) {
  const auto digit = [&](size_t i) { return i < cell.size() && std::isdigit(uint8_t(cell[i])) != 0; };
  if (cell == "-") return true;
  size_t at = cell.starts_with('-') || cell.starts_with('+') ? 1 : 0;
  if (!digit(at)) return false;
  while (digit(at) || (at < cell.size() && (cell[at] == '.' || cell[at] == ':'))) ++at;
  if (const size_t sign = at + 1; at < cell.size() && cell[at] == 'e' && sign < cell.size() && (cell[sign] == '-' || cell[sign] == '+') && digit(sign + 1))
    for (at = sign + 1; digit(at);) ++at;
  return at == cell.size() || cell[at] == ' ' || cell[at] == '%';
}

// Whether each column contains only numbers.
std::vector<bool> number_columns(const Cells& rows) {
  size_t columns = 0;
  for (const auto& row : rows) columns = std::max(columns, row.size());
  std::vector<bool> out(columns);
  for (size_t c = 0; c < columns; ++c) {
    bool some = false, all = true;
    for (const auto& row : rows)
      if (c < row.size() && !row[c].empty()) some = some || row[c] != "-", all = all && is_number(row[c]);
    out[c] = some && all;
  }
  return out;
}

const char* class_of(const std::vector<bool>& numbers, size_t column) { return column < numbers.size() && numbers[column] ? " class=\"number\"" : ""; }

// Width and height are at fixed positions of a PNG's first chunk. Returns 0 x 0 if the bytes are no PNG.
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

void HtmlReport::links(std::string_view before, const std::vector<Link>& links) {
  if (links.empty()) return;
  std::string out;
  for (const Link& link : links) out += fmt::format("{}<a href=\"{}\">{}</a>", out.empty() ? "" : ", ", escape_html(link.file), escape_html(link.text));
  body_ += fmt::format("<p>{}{}</p>\n", escape_html(before), out);
}

void HtmlReport::table(const std::vector<std::string>& head, const Cells& rows, std::string_view caption) {
  const std::vector<bool> numbers = number_columns(rows);
  body_ += "<div class=\"wide\"><table>";
  if (!caption.empty()) body_ += fmt::format("<caption>{}</caption>", escape_html(caption));
  if (!head.empty()) {
    body_ += "<tr>";
    for (size_t c = 0; c < head.size(); ++c) body_ += fmt::format("<th{}>{}</th>", class_of(numbers, c), escape_html(head[c]));
    body_ += "</tr>\n";
  }
  for (const auto& row : rows) {
    body_ += "<tr>";
    for (size_t c = 0; c < row.size(); ++c) body_ += fmt::format("<td{}>{}</td>", class_of(numbers, c), escape_html(row[c]));
    body_ += "</tr>\n";
  }
  body_ += "</table></div>\n";
}

void HtmlReport::sortable_table(const std::vector<std::string>& head, const Cells& rows, const Cells& keys, std::string_view caption) {
  const std::vector<bool> numbers = number_columns(rows);
  body_ += "<div class=\"wide\"><table class=\"sortable\">";
  if (!caption.empty()) body_ += fmt::format("<caption>{}</caption>", escape_html(caption));
  body_ += "<thead><tr>";
  for (size_t c = 0; c < head.size(); ++c) body_ += fmt::format("<th{}><button type=\"button\">{}</button></th>", class_of(numbers, c), escape_html(head[c]));
  body_ += "</tr></thead>\n<tbody>";
  for (std::size_t r = 0; r < rows.size(); ++r) {
    body_ += "<tr>";
    for (std::size_t c = 0; c < rows[r].size(); ++c)
      body_ += fmt::format("<td{} data-key=\"{}\">{}</td>", class_of(numbers, c), escape_html(keys.at(r).at(c)), escape_html(rows[r][c]));
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

void HtmlReport::images(const std::vector<PngFigure>& pictures) {
  body_ += "<div class=\"plots\">\n";
  for (const PngFigure& p : pictures) png(p.bytes, p.caption);
  body_ += "</div>\n";
}

void HtmlReport::strip(const std::vector<PngFigure>& pictures) {
  body_ += "<div class=\"strip\">\n";
  for (const PngFigure& p : pictures) png(p.bytes, p.caption);
  body_ += "</div>\n";
}

void HtmlReport::plot(const Plot& plot) { body_ += fmt::format("<figure>{}</figure>\n", svg_plot(plot)); }

void HtmlReport::plots(const std::vector<Plot>& plots) {
  body_ += "<div class=\"plots\">\n";
  const Plot whole;
  for (Plot one : plots) {
    if (one.width == whole.width && one.height == whole.height) one.width = 480, one.height = 280;
    plot(one);
  }
  body_ += "</div>\n";
}

void HtmlReport::dots(const std::vector<DotPlot>& plots) {
  body_ += "<div class=\"plots\">\n";
  for (DotPlot one : plots) {
    if (one.width == DotPlot().width) one.width = 520;
    body_ += fmt::format("<figure>{}</figure>\n", svg_dots(one));
  }
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
  std::string scripts;
  if (body_.find("<table class=\"sortable\">") != std::string::npos) scripts += sorting;
  if (body_.find("<circle") != std::string::npos) scripts += hovering;
  if (!scripts.empty()) scripts = fmt::format("<script>{}</script>\n", scripts);
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n"
      "<title>{}</title>\n<style>{}</style>\n</head>\n<body>\n{}{}</body>\n</html>\n",
      escape_html(title_), style, body_, scripts);
}

}  // namespace fm
