// SPDX-License-Identifier: Apache-2.0
#include "checks.h"

#include <link.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

namespace merapi {
namespace {

using cudasim::kAtomic;
using cudasim::kBuiltIn;
using cudasim::kFresh;
using cudasim::kWritable;
using cudasim::kWrites;

constexpr size_t kMaxStaticShared = 48 << 10;
constexpr size_t kMaxShadows = size_t{16} << 20;  // elements of a tensor beyond which only its bounds are checked
constexpr uintptr_t kNear = 1 << 20;              // what is so near to a tensor or a variable was meant to be in it

struct Loaded {
    uintptr_t place;
    Extent all, locals;
    uintptr_t base;
};

int look(dl_phdr_info* info, size_t, void* data) {
    auto* found = static_cast<Loaded*>(data);
    uintptr_t low = ~uintptr_t{0}, high = 0;
    size_t locals = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const auto& h = info->dlpi_phdr[i];
        if (h.p_type == PT_LOAD) {
            low = std::min<uintptr_t>(low, info->dlpi_addr + h.p_vaddr);
            high = std::max<uintptr_t>(high, info->dlpi_addr + h.p_vaddr + h.p_memsz);
        } else if (h.p_type == PT_TLS) {
            locals = h.p_memsz;
        }
    }
    if (found->place < low || found->place >= high) {
        return 0;
    }
    found->base = info->dlpi_addr;
    found->all = {low, high - low};
    found->locals = {reinterpret_cast<uintptr_t>(info->dlpi_tls_data), locals};
    return 1;
}

std::string bytes_text(size_t n) { return std::to_string(n) + (n == 1 ? " byte" : " bytes"); }

const char* verb(int kind) { return (kind & kAtomic) != 0 ? "updates" : (kind & kWrites) != 0 ? "writes" : "reads"; }

}  // namespace

std::string text(const cudasim::Dim& d) {
    return "(" + std::to_string(d.x) + ", " + std::to_string(d.y) + ", " + std::to_string(d.z) + ")";
}

cudasim::Dim thread_index(int thread, const cudasim::Dim& block) {
    auto t = static_cast<unsigned>(thread);
    return {t % block.x, t / block.x % block.y, t / (block.x * block.y)};
}

void Checks::Free::operator()(Shadow* s) const { std::free(s); }

Checks::Shadow* Checks::shadows(size_t count) {
    // Zeros that the system makes at first touch.
    auto* s = static_cast<Shadow*>(std::calloc(std::max<size_t>(1, count), sizeof(Shadow)));
    if (s == nullptr) {
        throw std::runtime_error("no memory for the checks of " + std::to_string(count) + " elements");
    }
    owned_.emplace_back(s);
    return s;
}

Checks::Checks(Regions tensors, Regions segments, Regions variables, const void* library, cudasim::Dim block)
    : tensors_(tensors), segments_(segments), variables_(variables), block_(block) {
    Loaded loaded{reinterpret_cast<uintptr_t>(library), {}, {}, 0};
    dl_iterate_phdr(look, &loaded);
    library_ = loaded.all;
    locals_ = loaded.locals;
    base_ = loaded.base;
    for (const auto& r : tensors_) {
        Memory m{{r.begin, r.bytes}, std::max<size_t>(1, r.element), nullptr, {}, false, (r.flags & kFresh) != 0};
        m.name = "@r" + std::to_string(memories_.size()) + "@";
        size_t elements = r.bytes / m.element;
        if ((r.flags & kWritable) != 0 && elements <= kMaxShadows) {
            m.shadows = shadows(elements + 1);
        }
        memories_.push_back(std::move(m));
    }
    size_t shared = 0;
    for (const auto& v : variables_) {
        Memory m{{locals_.begin + v.begin, v.bytes}, 1, nullptr, {}, true, true};
        m.name = "shared memory @v" + std::to_string(memories_.size() - tensors_.count) + "@";
        if ((v.flags & kBuiltIn) == 0) {
            m.shadows = shadows(v.bytes);
            shared += v.bytes;
        }
        memories_.push_back(std::move(m));
    }
    if (shared > kMaxStaticShared) {
        throw std::runtime_error("invalid launch: " + std::to_string(shared) +
                                 " bytes of __shared__ variables; a block has at most 49152, and more only as dynamic "
                                 "shared memory\n  fix: extern __shared__, and its size at the launch.");
    }
    memories_.push_back(Memory{{}, 1, nullptr, "dynamic shared memory", true, true});
}

void Checks::begin_block(uint32_t block, Extent dynamic) {
    block_index_ = block;
    first_epoch_ = ++epoch_;
    Memory& m = memories_.back();
    if (m.shadows == nullptr && dynamic.bytes > 0) {
        m.shadows = shadows(dynamic.bytes);
    }
    m.extent = dynamic_ = dynamic;
    size_t threads = size_t{block_.x} * block_.y * block_.z;
    clocks_.assign((threads + 31) / 32 * 32 * 32, 0);
    pending_.memory = nullptr;
}

void Checks::warp_barrier(int warp, unsigned lanes) {
    uint32_t* warps = clocks_.data() + static_cast<size_t>(warp) * 32 * 32;
    uint32_t joined[32] = {};
    for (int lane = 0; lane < 32; lane++) {
        if ((lanes >> lane & 1) != 0) {
            uint32_t* mine = warps + lane * 32;
            mine[lane]++;
            for (int i = 0; i < 32; i++) {
                joined[i] = std::max(joined[i], mine[i]);
            }
        }
    }
    for (int lane = 0; lane < 32; lane++) {
        if ((lanes >> lane & 1) != 0) {
            std::copy(joined, joined + 32, warps + lane * 32);
        }
    }
}

std::string Checks::place(const void* code) const {
    char offset[32];
    // The call itself stands before the address that it returns to.
    std::snprintf(offset, sizeof offset, "@0x%llx@",
                  static_cast<unsigned long long>(reinterpret_cast<uintptr_t>(code) - 1 - base_));
    return offset;
}

std::string Checks::at(const void* code, int thread) const {
    return "\n  at: " + place(code) + "\n  thread: " + text(thread_index(thread, block_));
}

bool Checks::ordered(const Access& before, const Access& now) const {
    if (before.block != now.block) {
        return fenced_;  // a fence and a flag may order blocks; that they do is not checked
    }
    if (before.thread == now.thread || before.epoch != now.epoch) {
        return true;
    }
    return before.thread / 32 == now.thread / 32 &&
           clocks_[now.thread * size_t{32} + before.thread % 32] > before.clock;
}

std::string Checks::race(const Memory& m, const Access& before, const Access& now, bool writes) const {
    bool blocks = before.block != now.block;
    return "race: " + std::string(writes ? "writes" : "reads") + " what " +
           (blocks ? "another block " : "another thread ") + ((before.kind & kWrites) != 0 ? "writes" : "reads") +
           ", with " + (blocks ? "nothing that orders blocks" : "no barrier between") + ": " + m.name + " @@" +
           at(now.place, now.thread) + "\n  other: " + place(before.place) +
           "\n  other thread: " + text(thread_index(before.thread, block_)) +
           (blocks ? " of block " + std::to_string(before.block) : "");
}

bool Checks::is_written(const Memory& m, const Shadow& s) const {
    return s.written.epoch >= (m.shared ? first_epoch_ : 1);
}

std::string Checks::touch(Memory& m, Shadow& s, const Access& now, bool writes) {
    const Access& w = s.written;
    bool reads = !writes || (now.kind & kAtomic) != 0;
    bool unwritten = !is_written(m, s);
    bool both = (now.kind & w.kind & kAtomic) != 0;
    if (!unwritten && !both && !ordered(w, now)) {
        std::string why = race(m, w, now, writes);
        if (reads) {
            return why;
        }
        pending_.why = why;
    }
    if (writes) {
        for (const Access* r : {&s.read, &s.read_by_another}) {
            bool valid = r->epoch != 0 && (!m.shared || r->epoch >= first_epoch_);
            if (valid && (now.kind & r->kind & kAtomic) == 0 && !ordered(*r, now)) {
                return race(m, *r, now, true);
            }
        }
        s.written = now;
        s.written.kind |= kWrites;
    } else {
        if (s.read.thread != now.thread && s.read.epoch == now.epoch) {
            s.read_by_another = s.read;
        }
        s.read = now;
    }
    return {};
}

std::string Checks::position(const Memory& m, size_t i) {
    return (m.element == 1 ? " at byte " : " at element ") + std::to_string(i);
}

std::string Checks::touch(Memory& m, int thread, uintptr_t address, size_t bytes, int kind, const void* place) {
    if (m.shadows == nullptr || bytes == 0) {
        return {};
    }
    Access now{place,
               epoch_,
               block_index_,
               clocks_[thread * size_t{32} + thread % 32],
               static_cast<uint16_t>(thread),
               static_cast<uint16_t>(kind)};
    size_t first = (address - m.extent.begin) / m.element, last = (address + bytes - 1 - m.extent.begin) / m.element;
    // A struct is read with the padding between its fields, which nobody writes: some of it must be written.
    if (kind != kWrites && m.fresh &&
        std::none_of(m.shadows + first, m.shadows + last + 1, [&](const Shadow& s) { return is_written(m, s); })) {
        return "uninitialised: reads what nothing has written: " + m.name + position(m, first) + at(place, thread);
    }
    pending_.why.clear();
    for (size_t i = first; i <= last; i++) {
        std::string why = touch(m, m.shadows[i], now, (kind & kWrites) != 0);
        std::string& said = why.empty() ? pending_.why : why;
        size_t mark = said.find(" @@");
        if (mark != std::string::npos) {
            said.replace(mark, 3,
                         m.element == 1 ? " at byte " + std::to_string(i) : " at element " + std::to_string(i));
        }
        if (!why.empty()) {
            pending_.memory = nullptr;
            return why;
        }
    }
    if (!pending_.why.empty()) {
        pending_.memory = reinterpret_cast<const unsigned char*>(address);
        pending_.bytes = std::min(bytes, sizeof pending_.before);
        std::memcpy(pending_.before, pending_.memory, pending_.bytes);
    }
    return {};
}

std::string Checks::settle() {
    const unsigned char* memory = pending_.memory;
    pending_.memory = nullptr;
    return memory != nullptr && std::memcmp(memory, pending_.before, pending_.bytes) != 0 ? pending_.why
                                                                                          : std::string();
}

std::string Checks::access(int thread, Extent stack, uintptr_t address, size_t bytes, int kind, const void* place) {
    std::string before = settle();
    if (!before.empty()) {
        return before;
    }
    if (stack.holds(address, bytes)) {
        return {};
    }
    if (locals_.holds(address, 1)) {
        return variable(thread, address, bytes, kind, place);
    }
    if (dynamic_.holds(address, bytes)) {
        return touch(memories_.back(), thread, address, bytes, kind, place);
    }
    const cudasim::Region* read_only = nullptr;
    for (size_t i = 0; i < tensors_.count; i++) {
        if (memories_[i].extent.holds(address, bytes)) {
            if ((kind & kWrites) == 0 || (tensors_.all[i].flags & kWritable) != 0) {
                return touch(memories_[i], thread, address, bytes, kind, place);
            }
            read_only = tensors_.all + i;
        }
    }
    if (read_only != nullptr) {
        return std::string(verb(kind)) + " " + memories_[static_cast<size_t>(read_only - tensors_.all)].name +
               " at byte " + std::to_string(address - read_only->begin) + ", which it may only read" +
               at(place, thread);
    }
    if (library_.holds(address, bytes)) {
        return {};  // __device__ and __constant__ variables
    }
    if (tensors_.count == 0) {
        for (const auto& s : segments_) {
            if (Extent{s.begin, s.bytes}.holds(address, bytes)) {
                return {};
            }
        }
    }
    return outside(thread, address, bytes, kind, place);
}

std::string Checks::variable(int thread, uintptr_t address, size_t bytes, int kind, const void* place) {
    for (size_t i = 0; i < variables_.count; i++) {
        Memory& m = memories_[tensors_.count + i];
        if (m.extent.holds(address, bytes)) {
            if ((variables_.all[i].flags & kBuiltIn) == 0) {
                return touch(m, thread, address, bytes, kind, place);
            }
            if ((kind & kWrites) == 0) {
                return {};
            }
            break;
        }
    }
    return outside(thread, address, bytes, kind, place);
}

std::string Checks::outside(int thread, uintptr_t address, size_t bytes, int kind, const void* place) const {
    std::string what = std::string(verb(kind)) + " " + bytes_text(bytes);
    bool on_device = false;
    for (const auto& s : segments_) {
        on_device |= address + bytes > s.begin && address < s.begin + s.bytes;
    }
    const Memory* nearest = nullptr;
    uintptr_t least = kNear;
    for (size_t i = 0; i < memories_.size(); i++) {
        const Memory& m = memories_[i];
        bool built_in = i >= tensors_.count && i + 1 < memories_.size() &&
                        (variables_.all[i - tensors_.count].flags & kBuiltIn) != 0;
        if (built_in || m.extent.begin == 0) {
            continue;
        }
        uintptr_t end = m.extent.begin + m.extent.bytes;
        uintptr_t distance = address < m.extent.begin ? m.extent.begin - address : address < end ? 0 : address - end;
        if (distance < least) {
            least = distance;
            nearest = &m;
        }
    }
    if (nearest != nullptr) {
        auto offset = static_cast<int64_t>(address) - static_cast<int64_t>(nearest->extent.begin);
        what = "out of bounds: " + what + " at byte " + std::to_string(offset) + " of " + nearest->name +
               ", which has " + std::to_string(nearest->extent.bytes);
    } else if (on_device) {
        what = "out of bounds: " + what + " of device memory that is no argument of it";
    } else {
        char hex[32];
        std::snprintf(hex, sizeof hex, "0x%llx", static_cast<unsigned long long>(address));
        what = (address < 4096 ? "null pointer: " : "wild pointer: ") + what + " at address " + hex +
               ", which is no memory of the device or of this thread";
    }
    return what + at(place, thread);
}

std::string Checks::end() const {
    for (size_t i = 0; i < tensors_.count; i++) {
        const Memory& m = memories_[i];
        if (!m.fresh || m.shadows == nullptr) {
            continue;
        }
        size_t elements = m.extent.bytes / m.element, missing = 0, first = 0;
        for (size_t k = elements; k-- > 0;) {
            if (m.shadows[k].written.epoch == 0) {
                missing++;
                first = k;
            }
        }
        if (missing > 0) {
            return "unwritten: " + std::to_string(missing) + " of the " + std::to_string(elements) + " elements of " +
                   m.name + " are not written, the first of them at element " + std::to_string(first);
        }
    }
    return {};
}

}  // namespace merapi
