// SPDX-License-Identifier: Apache-2.0
//
// An NVRTC that compiles nothing: whatever it is given, it answers with the bytes of the file beside it that has its
// name and ".image", if the source contains the text of ".wanted", and else with an error.
#include <dlfcn.h>

#include <cstdio>
#include <cstring>
#include <string>

namespace {

struct Program {
    std::string source, log, image;
};

std::string beside(const char* suffix) {
    Dl_info info;
    std::string text;
    if (dladdr(reinterpret_cast<void*>(&beside), &info) == 0) {
        return text;
    }
    FILE* file = std::fopen((std::string(info.dli_fname) + suffix).c_str(), "rb");
    for (int c; file != nullptr && (c = std::fgetc(file)) != EOF;) {
        text.push_back(static_cast<char>(c));
    }
    if (file != nullptr) {
        std::fclose(file);
    }
    return text;
}

int give(const std::string& text, char* to) {
    std::memcpy(to, text.data(), text.size());
    return 0;
}

}  // namespace

extern "C" {

int nvrtcVersion(int* major, int* minor) {
    *major = 13;
    *minor = 1;
    return 0;
}
int nvrtcGetNumSupportedArchs(int* count) {
    *count = 2;
    return 0;
}
int nvrtcGetSupportedArchs(int* all) {
    all[0] = 80;
    all[1] = 90;
    return 0;
}
int nvrtcCreateProgram(Program** made, const char* source, const char*, int, const char* const*, const char* const*) {
    *made = new Program{source, "", ""};
    return 0;
}
int nvrtcCompileProgram(Program* p, int count, const char* const* options) {
    bool target = false;
    for (int i = 0; i < count; i++) {
        target = target || std::strcmp(options[i], "--gpu-architecture=sm_80") == 0;
    }
    if (!target || p->source.find(beside(".wanted")) == std::string::npos) {
        p->log = "fake error: an unexpected source or target";
        return 6;
    }
    p->image = beside(".image");
    return 0;
}
int nvrtcGetCUBINSize(Program* p, size_t* size) {
    *size = p->image.size();
    return 0;
}
int nvrtcGetCUBIN(Program* p, char* to) { return give(p->image, to); }
int nvrtcGetPTXSize(Program*, size_t* size) {
    *size = 0;
    return 0;
}
int nvrtcGetPTX(Program*, char*) { return 0; }
int nvrtcGetProgramLogSize(Program* p, size_t* size) {
    *size = p->log.size();
    return 0;
}
int nvrtcGetProgramLog(Program* p, char* to) { return give(p->log, to); }
int nvrtcDestroyProgram(Program** p) {
    delete *p;
    *p = nullptr;
    return 0;
}

}  // extern "C"
