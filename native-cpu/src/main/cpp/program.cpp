// SPDX-License-Identifier: Apache-2.0
#include "program.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "isa.h"

namespace merapi {

MERAPI_DECLARE_TABLE(InterpTable, interp_table)

const InterpTable& interp_table() {
    static const InterpTable& table = MERAPI_PICK_TABLE(interp_table);
    return table;
}

const OpEntry* find_op(const char* name, Reg type) {
    for (const OpEntry* const* group = interp_table().groups; *group != nullptr; group++) {
        for (const OpEntry* e = *group; e->name != nullptr; e++) {
            if (e->type == type && std::strcmp(e->name, name) == 0) return e;
        }
    }
    return nullptr;
}

char* thread_scratch(int64_t bytes) {
    struct Scratch {
        char* memory = nullptr;
        int64_t capacity = 0;
        ~Scratch() { std::free(memory); }
    };
    static thread_local Scratch scratch;
    if (__builtin_expect(scratch.capacity < bytes, 0)) {
        std::free(scratch.memory);
        int64_t wanted = (bytes + 65535) / 65536 * 65536;
        void* p = nullptr;
#if defined(_WIN32)
        p = std::malloc(static_cast<size_t>(wanted));
#else
        if (posix_memalign(&p, 64, static_cast<size_t>(wanted)) != 0) p = nullptr;
#endif
        scratch.memory = static_cast<char*>(p);
        scratch.capacity = p != nullptr ? wanted : 0;
    }
    return scratch.memory;
}

namespace {

struct Refusal {
    std::string message;
};
// The program may be good, but there is no room for it here.
struct Beyond {};

[[noreturn]] __attribute__((format(printf, 2, 3))) void refuse(int line, const char* format, ...) {
    char text[400];
    va_list args;
    va_start(args, format);
    std::vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    throw Refusal{"program: line " + std::to_string(line) + ": " + text};
}

struct Parser {
    Program& p;
    bool reduction;
    int line = 0;
    std::vector<std::string> words;
    int reg[kMaxRegisters];
    std::vector<Value> values;  // in text order; renumbered at the end
    std::vector<Instruction> code;

    Parser(Program& program, bool is_reduction) : p(program), reduction(is_reduction) {
        for (int& r : reg) r = -1;
        for (int16_t& v : p.load_value) v = -1;
        for (Store& s : p.store) s = Store{-1, false, false};
    }

    void parse(const char* text, int64_t length) {
        const char* end = text + length;
        while (text < end) {
            const char* stop = static_cast<const char*>(std::memchr(text, '\n', static_cast<size_t>(end - text)));
            if (stop == nullptr) stop = end;
            line++;
            split(text, stop);
            if (!words.empty()) statement();
            text = stop + 1;
        }
        if (p.outputs == 0) refuse(line, "the program has no output; add `out 0 <dtype>` and `store 0 r<n>`");
        for (int k = 0; k < p.outputs; k++) {
            if (p.store[k].value < 0) refuse(line, "output %d is never stored", k);
        }
        if (reduction && p.reduce == ReduceOp::none) refuse(line, "a reduction needs a line `reduce <op> <dtype>`");
        if (reduction) check_reduction();
        renumber();
        allocate();
    }

    void split(const char* at, const char* stop) {
        words.clear();
        while (at < stop) {
            if (*at == '#') return;
            if (*at == ' ' || *at == '\t' || *at == '\r') {
                at++;
                continue;
            }
            const char* from = at;
            while (at < stop && *at != ' ' && *at != '\t' && *at != '\r' && *at != '#') at++;
            words.emplace_back(from, at);
        }
    }

    void expect(size_t count) {
        if (words.size() != count) refuse(line, "expected %zu words, found %zu", count, words.size());
    }

    int number(const std::string& s, int limit, const char* what) {
        if (s.empty() || s.size() > 6) refuse(line, "%s: `%.40s` is not a number", what, s.c_str());
        int n = 0;
        for (char c : s) {
            if (c < '0' || c > '9') refuse(line, "%s: `%.40s` is not a number", what, s.c_str());
            n = n * 10 + (c - '0');
        }
        if (n >= limit) throw Beyond{};
        return n;
    }

    int register_number(const std::string& s) {
        if (s.size() < 2 || s[0] != 'r') refuse(line, "`%.40s` is not a register", s.c_str());
        return number(s.substr(1), kMaxRegisters, "register");
    }

    int operand(const std::string& s) {
        int v = reg[register_number(s)];
        if (v < 0) refuse(line, "register %.40s is read before it is written", s.c_str());
        return v;
    }

    uint64_t hex(const std::string& s) {
        if (s.size() < 3 || s.size() > 18 || s[0] != '0' || s[1] != 'x') {
            refuse(line, "`%.40s` is not a constant such as 0x3f800000", s.c_str());
        }
        uint64_t n = 0;
        for (size_t i = 2; i < s.size(); i++) {
            char c = s[i];
            int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
            if (digit < 0) refuse(line, "`%.40s` is not a constant such as 0x3f800000", s.c_str());
            n = n << 4 | static_cast<uint64_t>(digit);
        }
        return n;
    }

    Storage storage(const std::string& s) {
        std::string names;
        for (int i = 0; i < kStorageCount; i++) {
            if (s == kStorages[i].name) return static_cast<Storage>(i);
            names.append(" ").append(kStorages[i].name);
        }
        refuse(line, "no dtype `%.40s`; there are%s", s.c_str(), names.c_str());
    }

    Reg reg_type(const std::string& s) {
        static const char* const names[] = {"f32", "f64", "i32", "i64", "bool"};
        for (int i = 0; i < 5; i++) {
            if (s == names[i]) return static_cast<Reg>(i);
        }
        refuse(line, "no register type `%.40s`; there are f32 f64 i32 i64 bool", s.c_str());
    }

    void statement() {
        const std::string& head = words[0];
        if (head == "in") {
            expect(3);
            int k = number(words[1], kMaxInputs, "input");
            if (k != p.inputs) refuse(line, "input %d is declared where %d comes next", k, p.inputs);
            p.input[p.inputs++] = storage(words[2]);
        } else if (head == "out") {
            expect(3);
            int k = number(words[1], kMaxOutputs, "output");
            if (k != p.outputs) refuse(line, "output %d is declared where %d comes next", k, p.outputs);
            p.output[p.outputs++] = storage(words[2]);
        } else if (head == "store") {
            expect(3);
            int k = number(words[1], kMaxOutputs, "output");
            if (k >= p.outputs) refuse(line, "output %d is not declared", k);
            if (p.store[k].value >= 0) refuse(line, "output %d is stored twice", k);
            int v = operand(words[2]);
            const Reg type = values[static_cast<size_t>(v)].type;
            const bool rounds = type == Reg::f64 && (p.output[k] == Storage::f16 || p.output[k] == Storage::bf16);
            if (type != reg_of(p.output[k]) && !rounds) {
                refuse(line, "output %d and register %.40s have different types", k, words[2].c_str());
            }
            p.store[k].value = static_cast<int16_t>(v);
        } else if (head == "reduce" && reduction) {
            reduce_statement();
        } else if (words.size() >= 3 && words[1] == "=") {
            assignment();
        } else {
            refuse(line, "`%.40s` starts no statement", head.c_str());
        }
    }

    int add_value(Source source, Reg type, int index, uint64_t bits) {
        if (values.size() >= static_cast<size_t>(kMaxValues)) throw Beyond{};
        values.push_back(Value{source, type, static_cast<int16_t>(index), bits, 0, 0});
        return static_cast<int>(values.size()) - 1;
    }

    void assignment() {
        int target = register_number(words[0]);
        const std::string& what = words[2];
        size_t dot = what.find('.');
        std::string op = what.substr(0, dot);
        std::string type = dot == std::string::npos ? "" : what.substr(dot + 1);
        if (op == "load") {
            expect(4);
            int k = number(words[3], kMaxInputs, "input");
            if (k >= p.inputs) refuse(line, "input %d is not declared", k);
            if (p.load_value[k] < 0) {
                p.load_value[k] = static_cast<int16_t>(add_value(Source::load, reg_of(p.input[k]), k, 0));
            }
            reg[target] = p.load_value[k];
        } else if (op == "const") {
            expect(4);
            Reg t = reg_type(type);
            uint64_t bits = hex(words[3]);
            if (t == Reg::boolean) bits = bits != 0;
            reg[target] = add_value(Source::constant, t, 0, bits);
        } else if (op == "scalar") {
            expect(4);
            int k = number(words[3], kMaxScalars, "scalar");
            if (k + 1 > p.scalars) p.scalars = k + 1;
            reg[target] = add_value(Source::scalar, reg_type(type), k, 0);
        } else {
            instruction(target, op, type);
        }
    }

    void instruction(int target, const std::string& op, const std::string& type) {
        std::string name = op, from = type;
        if (op == "cast") {
            size_t dot = type.find('.');
            if (dot == std::string::npos) refuse(line, "a cast names two types: cast.f32.i64");
            from = type.substr(0, dot);
            name = "cast." + type.substr(dot + 1);
        }
        Reg t = reg_type(from);
        const OpEntry* entry = find_op(name.c_str(), t);
        if (entry == nullptr) refuse(line, "no op `%.40s` for %.10s", name.c_str(), from.c_str());
        expect(3 + static_cast<size_t>(entry->arity));
        int operands[3];
        for (int i = 0; i < entry->arity; i++) {
            operands[i] = operand(words[3 + static_cast<size_t>(i)]);
            Reg wanted = op == "select" && i == 0 ? Reg::boolean : t;
            if (values[static_cast<size_t>(operands[i])].type != wanted) {
                refuse(line, "operand %d of %.40s has another type than the op", i, words[2].c_str());
            }
        }
        for (int i = entry->arity; i < 3; i++) operands[i] = operands[0];
        int d = add_value(Source::computed, entry->result, 0, 0);
        values[static_cast<size_t>(d)].defined = static_cast<int16_t>(code.size());
        code.push_back(Instruction{entry->fn, static_cast<int16_t>(d), static_cast<int16_t>(operands[0]),
                                   static_cast<int16_t>(operands[1]), static_cast<int16_t>(operands[2])});
        reg[target] = d;
    }

    void reduce_statement() {
        expect(3);
        static const char* const names[] = {"",       "sum", "prod", "min",  "max",   "argmin",
                                            "argmax", "any", "all",  "mean", "sumsq", "var"};
        for (int i = 1; i < 12; i++) {
            if (words[1] == names[i]) p.reduce = static_cast<ReduceOp>(i);
        }
        if (p.reduce == ReduceOp::none) refuse(line, "no reduction `%.40s`", words[1].c_str());
        p.reduce_result = storage(words[2]);
    }

    void check_reduction() {
        if (p.outputs != 1) refuse(line, "a reduction has one output, not %d", p.outputs);
        if (converts(p.output[0])) refuse(line, "a reduction's `out 0` is f32, f64, i32, i64 or bool");
        Reg from = reg_of(p.output[0]), to = reg_of(p.reduce_result);
        bool is_float = from == Reg::f32 || from == Reg::f64;
        bool to_float = to == Reg::f32 || to == Reg::f64;
        switch (p.reduce) {
            case ReduceOp::any:
            case ReduceOp::all:
                if (from != Reg::boolean || to != Reg::boolean) refuse(line, "any and all reduce bool to bool");
                break;
            case ReduceOp::argmin:
            case ReduceOp::argmax:
                if (from == Reg::boolean || to != Reg::i64) refuse(line, "argmin and argmax reduce numbers to i64");
                break;
            case ReduceOp::mean:
            case ReduceOp::sumsq:
            case ReduceOp::var:
                if (!is_float || !to_float) refuse(line, "mean, sumsq and var reduce floats to floats");
                break;
            default:
                if (from == Reg::boolean || to == Reg::boolean || is_float != to_float) {
                    refuse(line, "the reduction changes the kind of number");
                }
        }
    }

    // Constants and scalars first, then the rest in text order.
    void renumber() {
        std::vector<int16_t> place(values.size());
        int at = 0;
        for (int pass = 0; pass < 2; pass++) {
            for (size_t v = 0; v < values.size(); v++) {
                bool fixed = values[v].source == Source::constant || values[v].source == Source::scalar;
                if (fixed == (pass == 0)) {
                    p.value[at] = values[v];
                    place[v] = static_cast<int16_t>(at++);
                }
            }
            if (pass == 0) p.fixed_values = at;
        }
        p.values = at;
        auto renamed = [&](int16_t v) { return v < 0 ? v : place[static_cast<size_t>(v)]; };
        for (int k = 0; k < p.inputs; k++) p.load_value[k] = renamed(p.load_value[k]);
        for (int k = 0; k < p.outputs; k++) p.store[k].value = renamed(p.store[k].value);
        p.instructions = static_cast<int>(code.size());
        for (size_t i = 0; i < code.size(); i++) {
            const Instruction& in = code[i];
            p.instruction[i] = Instruction{in.fn, renamed(in.d), renamed(in.a), renamed(in.b), renamed(in.c)};
        }
    }

    void allocate() {
        std::vector<int> last_use(static_cast<size_t>(p.values), -1);
        int last_input_read = -1;
        for (int i = 0; i < p.instructions; i++) {
            const Instruction& in = p.instruction[i];
            for (int16_t v : {in.a, in.b, in.c}) {
                last_use[static_cast<size_t>(v)] = i;
                if (p.value[v].source == Source::load) last_input_read = i;
            }
        }
        // Which stores may be redirected: the first of a value, computed, of the output's own type. A store that is not
        // redirected happens after the last instruction, so its value lives on, and an input that it copies must not
        // have been overwritten by a redirected one.
        p.needs_slots = p.fixed_values > 0;
        bool copies_input = false;
        for (int k = 0; k < p.outputs; k++) {
            copies_input = copies_input || p.value[p.store[k].value].source == Source::load;
        }
        std::vector<bool> redirected(static_cast<size_t>(p.values), false);
        for (int k = 0; k < p.outputs; k++) {
            Store& s = p.store[k];
            const Value& v = p.value[s.value];
            last_use[static_cast<size_t>(s.value)] = p.instructions;
            s.direct_maybe =
                v.source == Source::computed && !converts(p.output[k]) && !redirected[static_cast<size_t>(s.value)];
            s.direct_static = s.direct_maybe && v.defined >= last_input_read && !copies_input;
            if (s.direct_maybe) redirected[static_cast<size_t>(s.value)] = true;
        }
        int slots_bytes = 0;  // an element, of what certainly passes through scratch
        std::vector<int> slot(static_cast<size_t>(p.values), -1);
        std::vector<int> free_slots[9];
        std::vector<int> slot_size;
        auto take = [&](int size) {
            if (!free_slots[size].empty()) {
                int s = free_slots[size].back();
                free_slots[size].pop_back();
                return s;
            }
            slot_size.push_back(size);
            return static_cast<int>(slot_size.size()) - 1;
        };
        for (int v = 0; v < p.values; v++) {
            if (p.value[v].source == Source::computed) continue;
            slot[static_cast<size_t>(v)] = take(reg_size(p.value[v].type));
            bool passes = v < p.fixed_values || converts(p.input[p.value[v].index]);
            if (passes) slots_bytes += reg_size(p.value[v].type);
            p.needs_slots = p.needs_slots || passes;
        }
        size_t fixed_slots = slot_size.size();
        for (int i = 0; i < p.instructions; i++) {
            const Instruction& in = p.instruction[i];
            int size = reg_size(p.value[in.d].type);
            // An operand that dies here gives its slot to the result if elements have one size: an opcode may work in
            // place, but not while it widens or narrows.
            auto release = [&](int16_t v, bool same_size) {
                if (p.value[v].source != Source::computed || last_use[static_cast<size_t>(v)] != i) return;
                int bytes = reg_size(p.value[v].type);
                if ((bytes == size) != same_size) return;
                free_slots[bytes].push_back(slot[static_cast<size_t>(v)]);
                last_use[static_cast<size_t>(v)] = -2;  // once, also if it is read twice
            };
            for (int16_t v : {in.a, in.b, in.c}) release(v, true);
            slot[static_cast<size_t>(in.d)] = take(size);
            for (int16_t v : {in.a, in.b, in.c}) release(v, false);
            if (last_use[static_cast<size_t>(in.d)] < 0) {  // never read: its slot is free at once
                free_slots[size].push_back(slot[static_cast<size_t>(in.d)]);
            }
            if (!redirected[static_cast<size_t>(in.d)]) p.needs_slots = true;
        }
        for (size_t s = fixed_slots; s < slot_size.size(); s++) slots_bytes += slot_size[s];
        p.block = slots_bytes <= 28 ? 1024 : (slots_bytes <= 56 ? 512 : 256);

        // 64 bytes between slots keep equal offsets of different slots out of one cache set.
        int64_t at = 0;
        auto place = [&](int size) {
            int64_t from = at;
            at += static_cast<int64_t>(p.block) * size + 64;
            return static_cast<int32_t>(from);
        };
        std::vector<int32_t> offset;
        for (int size : slot_size) offset.push_back(place(size));
        for (int v = 0; v < p.values; v++) {
            p.value[v].slot = offset[static_cast<size_t>(slot[static_cast<size_t>(v)])];
        }
        for (int k = 0; k < p.inputs; k++) {
            if (p.load_value[k] < 0) continue;
            p.input_stage[k] = converts(p.input[k]) ? place(2) : p.value[p.load_value[k]].slot;
        }
        for (int k = 0; k < p.outputs; k++) p.output_stage[k] = converts(p.output[k]) ? place(2) : 0;
        p.scratch_bytes = at + 64;
    }
};

}  // namespace

Program* parse_program(const char* text, int64_t length, bool reduction, bool* beyond, char* error,
                       int64_t error_capacity) {
    Program* p = nullptr;
    *beyond = false;
    const char* message = "program: out of memory";
    std::string refused;
    try {
        p = new Program();
        Parser(*p, reduction).parse(text, length);
        return p;
    } catch (const Beyond&) {
        *beyond = true;
        message = "program: beyond the limits";
    } catch (const Refusal& r) {
        try {
            refused = r.message;
            message = refused.c_str();
        } catch (...) {
        }
    } catch (...) {
    }
    delete p;
    if (error != nullptr && error_capacity > 0) {
        std::snprintf(error, static_cast<size_t>(error_capacity), "%s", message);
    }
    return nullptr;
}

}  // namespace merapi
