// SPDX-License-Identifier: Apache-2.0
//
// Memory as Java's buffers, for which JavaCPP would need a library of its own beside ours. Only what JavaCPP generates
// includes this, once in each library.
#pragma once

#include <jni.h>

// What JavaCPP's code would do when the library is loaded, it does under a name that no JVM looks for: it makes all of
// JavaCPP's classes known to it, of which our functions use none, and every program would wait for that. Strings are
// Java's own UTF-8 then.
#define MODIFIED_UTF8_STRING
#define JNI_OnLoad JNI_OnLoad_unused
#define JNI_OnUnload JNI_OnUnload_unused

extern "C" {
JNIEXPORT jint JNICALL JNI_OnLoad_jnijavacpp(JavaVM*, void*) { return JNI_ERR; }
JNIEXPORT void JNICALL JNI_OnUnload_jnijavacpp(JavaVM*, void*) {}
}

namespace merapi {
namespace abi {

inline jobject buffer_at(JNIEnv* env, jclass, jlong address, jlong bytes) {
    return env->NewDirectByteBuffer(reinterpret_cast<void*>(address), bytes);
}

inline jlong address_of(JNIEnv* env, jclass, jobject buffer) {
    return reinterpret_cast<jlong>(env->GetDirectBufferAddress(buffer));
}

}  // namespace abi
}  // namespace merapi
