// The only file that includes CLI11 (slow to compile).
#include "apps/cli/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "nn/config/removed_options.h"
#include "tensor/error.h"

namespace fm {
namespace {

std::string with_underscores(std::string name) {
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

std::set<std::string> reserved_names(const std::vector<LaunchOption>& options) {
  std::set<std::string> names;
  for (const LaunchOption& option : options)
    if (const std::size_t at = option.flags.find("--"); at != std::string::npos) names.insert(option.flags.substr(at + 2));
  return names;
}

// Options that name a file or a folder may be given once: the first of two would be silently dropped.
std::function<void(const std::string&)> setter(const LaunchOption& option) {
  if (!option.once) return option.set;
  return [option, before = std::make_shared<std::optional<std::string>>()](const std::string& text) {
    if (*before && **before != text)
      throw ConfigError(fmt::format("{} is given twice, '{}' and '{}': {}", option.flags, **before, text,
                                    option.flags == "--config" ? "merge the files into one, or set single values with --set" : "give one"));
    *before = text;
    option.set(text);
  };
}

void add_launch_option(CLI::App& app, const LaunchOption& option) {
  const auto set = setter(option);
  if (option.value.empty()) {
    app.add_flag_function(option.flags, [set](int64_t times) {
      for (; times > 0; --times) set("");
    });
    return;
  }
  CLI::Option* added = app.add_option_function<std::string>(option.flags, set)->trigger_on_parse();
  if (!option.env.empty()) added->envname(option.env);
}

// All spellings of the flags with these names: "a-b" also as "a_b".
std::string spellings(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) {
    out += (out.empty() ? "--" : ",--") + name;
    if (with_underscores(name) != name) out += ",--" + with_underscores(name);
  }
  return out;
}

// Returns the field's name that was typed, for messages, or its first name if none was typed.
std::string typed_name(const std::vector<std::string>& names, const std::vector<std::string>& arguments) {
  for (const std::string& argument : arguments)
    for (const std::string& name : names)
      if (argument.starts_with("--") && with_dashes(argument.substr(0, argument.find('='))) == "--" + name) return "--" + name;
  return "--" + names.front();
}

void add_field(CLI::App& app, const Field& field, const std::vector<std::string>& names, const std::string& flag, ParsedLine& line) {
  const auto assign = [&line, flag, path = field.path](const std::string& text) { line.assignments.push_back({path, text, flag}); };
  CLI::Option* option = app.add_option_function<std::string>(spellings(names), assign)->trigger_on_parse();
  if (!field.rule.alone.empty()) option->expected(0, 1)->default_str(field.rule.alone);
  if (!std::holds_alternative<bool*>(field.value)) return;
  option->expected(0, 1)->default_str("true");  // --fast, --fast false, --fast=false
  for (const std::string& name : names) app.add_flag_function("--no-" + name, [assign](int64_t) { assign("false"); })->trigger_on_parse();
}

// "fm-loop" of "--fm-loop=3"; empty for arguments like "-" and "--=".
std::string name_of_flag(const std::string& argument) {
  const std::size_t begin = std::min(argument.find_first_not_of('-'), argument.size());
  return argument.substr(begin, std::min(argument.find('=', begin), argument.size()) - begin);
}

// The names that arguments spell, with dashes; for --no-fast both "no-fast" and "fast".
std::set<std::string> spelled_names(const std::vector<std::string>& arguments) {
  std::set<std::string> spelled;
  for (const std::string& argument : arguments) {
    const std::string name = with_dashes(name_of_flag(argument));
    spelled.insert(name);
    if (name.starts_with("no-")) spelled.insert(name.substr(3));
  }
  return spelled;
}

// Refuses values of flags that take none: CLI11 takes "--verbose=1000" as a thousand times --verbose, and "--no-fast=false" as --no-fast.
void refuse_values_of_flags(const std::vector<std::string>& arguments, const std::vector<Field>& fields,
                            const std::vector<std::vector<std::string>>& names, const std::vector<LaunchOption>& options) {
  std::set<std::string> bare;
  for (const LaunchOption& option : options)
    if (option.value.empty()) bare.insert(option.flags.substr(std::min(option.flags.find("--"), option.flags.size())));
  for (std::size_t i = 0; i < fields.size(); ++i)
    if (std::holds_alternative<bool*>(fields[i].value)) bare.insert("--no-" + names[i].front());
  for (const std::string& argument : arguments) {
    const std::size_t equals = argument.find('=');
    if (equals != std::string::npos && bare.contains(argument.substr(0, equals)))
      throw ConfigError(fmt::format("{} takes no value, but '{}' was given: leave the value out", argument.substr(0, equals), argument.substr(equals + 1)));
  }
}

// Refuses the first unused argument, with the nearest flag.
[[noreturn]] void refuse_argument(const std::string& argument, const std::vector<Field>& fields, const std::vector<LaunchOption>& options) {
  if (argument.rfind("-", 0) != 0) throw ConfigError(fmt::format("unexpected argument '{}'; --help lists the flags", argument));
  if (name_of_flag(argument).empty()) throw ConfigError(fmt::format("unknown argument '{}'; --help lists the flags", argument));
  const std::string name =
      with_dashes(name_of_flag(argument));
  std::vector<std::string> known, owners;
  for (const std::string& reserved : reserved_names(options)) known.push_back(reserved);
  for (const auto& names : flag_names(fields, options)) known.insert(known.end(), names.begin(), names.end());
  for (const Field& field : fields)
    if (with_dashes(field.leaf()) == name || field.rule.flag == name) owners.push_back("--" + with_dashes(field.path));
  if (owners.size() > 1) throw ConfigError(fmt::format("--{} is ambiguous: write {}", name, fmt::join(owners, " or ")));
  if (const RemovedOption* removed = removed_option(name.starts_with("no-") ? name.substr(3) : name))
    throw ConfigError(fmt::format("--{} was removed: {}; leave it out", name, removed->why));
  const std::string hint = nearest(name, known);
  throw ConfigError(fmt::format("unknown flag {}; {}", argument.substr(0, argument.find('=')),
                                hint.empty() ? "--help lists the flags" : fmt::format("did you mean --{}?", hint)));
}

const Command* find_command(const Program& program, const std::string& name) {
  for (const Command& command : program.commands)
    if (command.info.name == name) return &command;
  return nullptr;
}

// Takes the command's name off the arguments; nullptr if there are none, or if the first one needs no command.
const Command* take_command(const Program& program, std::vector<std::string>& arguments) {
  if (const Command* only = find_command(program, "")) return only;
  if (arguments.empty()) return nullptr;
  for (const std::string_view name : without_command)
    if (arguments[0] == name || arguments[0].starts_with(std::string(name) + "=")) return nullptr;
  if (arguments[0].rfind("-", 0) == 0 && !program.default_command.empty()) return find_command(program, program.default_command);
  if (const Command* command = find_command(program, arguments[0])) return arguments.erase(arguments.begin()), command;
  std::vector<std::string> names;
  for (const Command& command : program.commands) names.push_back(command.info.name);
  const std::string hint = nearest(arguments[0], names);
  throw ConfigError(
      fmt::format("unknown command '{}'; {}", arguments[0],
                  hint.empty() ? fmt::format("there are {}", fmt::join(names, ", ")) : fmt::format("did you mean '{}'?", hint)));
}

// Replaces "--grid=" by "--grid" and an empty value: CLI11 would take the next argument as the value.
std::vector<std::string> with_empty_values(const std::vector<std::string>& arguments) {
  std::vector<std::string> out;
  for (const std::string& argument : arguments) {
    const bool empty = argument.starts_with("--") && !name_of_flag(argument).empty() && argument.find('=') == argument.size() - 1;
    out.push_back(empty ? argument.substr(0, argument.size() - 1) : argument);
    if (empty) out.emplace_back();
  }
  return out;
}

}  // namespace

bool takes_operands(const Field& field) {
  return std::holds_alternative<std::vector<std::string>*>(field.value) && field.rule.shown.ends_with(" ...");
}

std::string with_dashes(std::string name) {
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

std::vector<std::vector<std::string>> flag_names(const std::vector<Field>& fields, const std::vector<LaunchOption>& options) {
  std::map<std::string, int> uses;
  std::set<std::string> claimed;       // a short name that a field declares has priority over another field's last part
  for (const Field& field : fields) claimed.insert(field.rule.flag);
  for (const std::string& name : reserved_names(options)) uses[name] = 2;
  for (const Field& field : fields) {  // a set: two of a field's names may be equal
    const std::string leaf = with_dashes(field.leaf());
    const std::set<std::string> own{with_dashes(field.path), claimed.contains(leaf) ? "" : leaf, field.rule.flag};
    for (const std::string& name : own) ++uses[name];
  }
  for (const Field& field : fields) uses[with_dashes(field.path)] = 2;  // a full path is never another field's short name
  std::vector<std::vector<std::string>> names;
  for (const Field& field : fields) {
    std::vector<std::string> own{with_dashes(field.path)};
    const std::string leaf = with_dashes(field.leaf());
    for (const std::string& name : {field.rule.flag, claimed.contains(leaf) ? "" : leaf})
      if (!name.empty() && uses[name] == 1 && std::find(own.begin(), own.end(), name) == own.end()) own.push_back(name);
    names.push_back(own);
  }
  return names;
}

ParsedLine parse_command_line(const Program& program, const std::vector<std::string>& arguments) {
  std::vector<std::string> left = with_empty_values(arguments);
  ParsedLine line;
  line.command = take_command(program, left);
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();
  const auto options = launch_options(line.command == nullptr ? CommandInfo() : line.command->info, line);
  for (const LaunchOption& option : options) add_launch_option(app, option);
  const auto fields = line.command == nullptr ? std::vector<Field>() : line.command->fields();
  const auto names = flag_names(fields, options);
  const std::set<std::string> spelled = spelled_names(left);  // CLI11 compares each option with all others, so only the options of the arguments are registered
  for (size_t i = 0; i < fields.size(); ++i)
    if (std::any_of(names[i].begin(), names[i].end(), [&](const std::string& name) { return spelled.contains(name); }))
      add_field(app, fields[i], names[i], typed_name(names[i], arguments), line);
  refuse_values_of_flags(arguments, fields, names, options);
  try {
    std::reverse(left.begin(), left.end());  // CLI11 takes arguments from the back of a vector
    app.parse(left);
  } catch (const CLI::ParseError& error) {
    throw ConfigError(error.what());
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {        // from a conversion inside CLI11
    throw ConfigError(fmt::format("the command line cannot be read ({}); --help lists the flags", error.what()));
  }
  const auto operands = std::find_if(fields.begin(), fields.end(), takes_operands);
  std::vector<std::string> given;
  for (const std::string& extra : app.remaining()) {
    if (operands != fields.end() && !extra.starts_with("-")) given.push_back(extra);
    else if (line.help == ParsedLine::Help::none) refuse_argument(extra, fields, options);
  }
  if (!given.empty()) line.assignments.push_back({operands->path, fmt::format("{}", fmt::join(given, ",")), "arguments"});
  for (Assignment& assignment : line.assignments) assignment.key = with_underscores(assignment.key);
  return line;
}

}  // namespace fm
