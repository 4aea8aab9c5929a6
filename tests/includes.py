#!/usr/bin/env python3
"""includes.py ROOT: every source and header includes what it names, itself or through the project's headers that it includes.

Builds compile the sources of a folder together (-Dtogether), where a missing include goes unnoticed: the neighbour before has it. This reads
the text: each name of namespace std needs one of the standard headers that define it, each class or enum that one header of the project
defines needs that header or a declaration. Functions, and names that several headers define, are left to the compiler."""
import collections
import pathlib
import re
import sys

FOLDERS = ["tensor", "autodiff", "nn", "flowmap", "data", "apps"]
STANDARD = {
    "algorithm": "sort stable_sort min max clamp find find_if find_if_not any_of all_of none_of copy_n fill transform max_element min_element "
                 "lower_bound upper_bound nth_element reverse rotate unique count count_if remove remove_if equal minmax_element replace is_sorted "
                 "partial_sort set_difference binary_search adjacent_find search mismatch generate shuffle",
    "array": "array", "atomic": "atomic atomic_flag memory_order_relaxed memory_order_acquire memory_order_release", "bit": "bit_cast popcount countr_zero bit_width",
    "charconv": "from_chars to_chars", "chrono": "chrono", "complex": "complex", "condition_variable": "condition_variable condition_variable_any",
    "deque": "deque", "exception": "exception_ptr current_exception rethrow_exception uncaught_exceptions terminate make_exception_ptr",
    "filesystem": "filesystem", "fstream": "ifstream ofstream fstream", "functional": "function hash less greater plus multiplies reference_wrapper ref cref bind not_fn",
    "future": "future promise async", "initializer_list": "initializer_list", "iostream": "cout cerr cin", "limits": "numeric_limits", "list": "list",
    "map": "map multimap", "memory": "unique_ptr shared_ptr weak_ptr make_unique make_shared enable_shared_from_this addressof",
    "mutex": "mutex lock_guard unique_lock scoped_lock once_flag call_once recursive_mutex", "numbers": "numbers", "numeric": "accumulate iota inner_product partial_sum reduce gcd lcm",
    "optional": "optional nullopt make_optional", "queue": "queue priority_queue", "random": "mt19937 mt19937_64 normal_distribution uniform_real_distribution",
    "regex": "regex smatch regex_search regex_match regex_replace", "set": "set multiset", "shared_mutex": "shared_mutex shared_lock", "span": "span",
    "sstream": "stringstream istringstream ostringstream", "stdexcept": "runtime_error invalid_argument out_of_range logic_error length_error domain_error overflow_error",
    "stop_token": "stop_token stop_source", "string": "string to_string stoi stod stoll stof getline", "string_view": "string_view", "thread": "thread jthread this_thread",
    "tuple": "tuple make_tuple tie apply forward_as_tuple", "typeindex": "type_index", "unordered_map": "unordered_map", "unordered_set": "unordered_set",
    "variant": "variant visit holds_alternative get_if monostate", "vector": "vector",
    "cmath": "sqrt exp log sin cos tanh pow floor ceil fabs isfinite isnan isinf lround llround round erf fma log2 log1p expm1 hypot nearbyint trunc lrint",
    "cstdint": "int64_t uint64_t int32_t uint32_t uint8_t uint16_t int8_t int16_t uintptr_t", "cstring": "memcpy memset memcmp strlen strcmp strerror memmove",
    "cstdlib": "getenv malloc free aligned_alloc abort strtod strtoll", "cstdio": "FILE fopen fclose fputs fwrite fflush fread snprintf perror rename",
}
# A standard header that the standard says, or every implementation makes, bring in another.
ALSO = {"string_view": ["string"], "initializer_list": ["vector", "string", "map", "set", "array", "utility"], "cstdint": ["cinttypes", "omp.h", "bit", "atomic"],
        "exception": ["stdexcept", "new"], "algorithm": [], "chrono": ["thread", "condition_variable", "future"], "iostream": []}


def bare(text):
    """The text without comments, literals and includes."""
    text = re.sub(r'R"(\w*)\(.*?\)\1"', '""', text, flags=re.S)
    text = re.sub(r"//[^\n]*|/\*.*?\*/", " ", text, flags=re.S)
    text = re.sub(r'"(?:\\.|[^"\\\n])*"', '""', text)
    text = re.sub(r"(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])'", "0", text)
    return re.sub(r"^\s*#\s*include[^\n]*", "", text, flags=re.M)


def main(root):
    root = pathlib.Path(root)
    paths = [p for folder in FOLDERS for p in sorted((root / folder).rglob("*")) if p.suffix in (".h", ".cpp")]
    text = {str(p.relative_to(root)): p.read_text() for p in paths}
    quoted = {f: [i for i in re.findall(r'^\s*#\s*include "([^"]+)"', t, re.M)] for f, t in text.items()}
    standard = {f: set(re.findall(r"^\s*#\s*include <([^>]+)>", t, re.M)) for f, t in text.items()}
    body = {f: bare(t) for f, t in text.items()}

    def closure(file):
        seen, todo = set(), [file]
        while todo:
            f = todo.pop()
            if f in seen:
                continue
            seen.add(f)
            todo += [i for i in quoted.get(f, []) if i in text]
        return seen

    declared = collections.defaultdict(set)
    for f, t in body.items():
        if f.endswith(".h"):
            for name in re.findall(r"^ *(?:template <[^\n]*>\s*)?(?:class|struct|enum class|enum)\s+(\w+)[^;\n]*\{", t, re.M):
                declared[name].add(f)
            for name in re.findall(r"\busing (\w+) =|\b(?:class|struct) (\w+)\b[^;{\n]*\{", t):
                declared[name[0] or name[1]].add(f)
    home = {name: next(iter(files)) for name, files in declared.items() if len(files) == 1 and name[0].isupper() and len(name) > 2}
    header_of = {name: header for header, names in STANDARD.items() for name in names.split()}
    faults = 0
    for f, t in body.items():
        reach = closure(f)
        has = set().union(*(standard[r] for r in reach))
        for name in sorted(set(re.findall(r"\bstd::(\w+)", t))):
            header = header_of.get(name)
            if header and header not in has and not any(a in has for a in ALSO.get(header, [])):
                print(f"{f} names std::{name} and includes no <{header}>")
                faults += 1
        words = set(re.findall(r"(?<![\w.:>])(?:fm::)?(\w+)\b", t))
        for name in sorted(words & home.keys()):
            if home[name] not in reach and not any(re.search(rf"\b(?:class|struct|enum|using|typename)\s+(?:class\s+)?{name}\b", body[r]) for r in reach):
                print(f'{f} names {name} and includes no "{home[name]}"')
                faults += 1
    if faults:
        sys.exit(f"{faults} missing includes")
    print(f"{len(text)} files include what they name: {len(header_of)} names of the standard library, {len(home)} of the project")


main(sys.argv[1])
